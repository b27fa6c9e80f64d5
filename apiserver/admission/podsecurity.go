package admission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/audit"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/component-base/metrics/legacyregistry"
	security "k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/admission/api/load"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"
)

const podSecurity = "PodSecurity"

// podSecurityPlugin is upstream's plugin PodSecurity on versioned objects: pods are held to the standard that their namespace's labels
// name, and what makes pods is warned of and noted.
type podSecurityPlugin struct {
	*admission.Handler
	rules *security.Admission
}

var _ admission.ValidationInterface = podSecurityPlugin{}

// recorder counts verdicts; the registry of the libraries' metrics is one of the process.
var recorder = sync.OnceValue(func() metrics.Recorder {
	r := metrics.NewPrometheusRecorder(api.GetAPIVersion())
	r.MustRegister(legacyregistry.MustRegister)
	return r
})

// newPodSecurity reads the plugin's configuration, where there is one: defaults and exemptions.
func newPodSecurity(s Server, config io.Reader) (admission.Interface, error) {
	configuration, err := load.LoadFromReader(config)
	if err != nil {
		return nil, err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, err
	}
	rules := &security.Admission{
		Configuration: configuration, Evaluator: evaluator, Metrics: recorder(),
		NamespaceGetter: stored{s}, PodLister: stored{s},
	}
	if err := rules.CompleteConfiguration(); err != nil {
		return nil, err
	}
	return podSecurityPlugin{admission.NewHandler(admission.Create, admission.Update), rules}, rules.ValidateConfiguration()
}

// Validate is part of admission.ValidationInterface.
func (p podSecurityPlugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	resource := a.GetResource().GroupResource()
	if resource != namespaces && !p.rules.PodSpecExtractor.HasPodSpec(resource) {
		return nil
	}
	answer := p.rules.Validate(ctx, request{a})
	for _, w := range answer.Warnings {
		warning.AddWarning(ctx, "", w)
	}
	for key, value := range answer.AuditAnnotations {
		audit.AddAuditAnnotation(ctx, api.AuditAnnotationPrefix+key, value)
	}
	if answer.Allowed {
		return nil
	}
	return refusal(a, answer.Result)
}

// refusal is the answer's own, as far as it has one.
func refusal(a admission.Attributes, result *metav1.Status) error {
	err := admission.NewForbidden(a, errors.New("not allowed by PodSecurity"))
	var status *apierrors.StatusError
	if result == nil || !errors.As(err, &status) {
		return err
	}
	if result.Message != "" {
		status.ErrStatus.Message = result.Message
	}
	if result.Reason != "" {
		status.ErrStatus.Reason = result.Reason
	}
	if result.Details != nil {
		status.ErrStatus.Details = result.Details
	}
	if result.Code != 0 {
		status.ErrStatus.Code = result.Code
	}
	return err
}

// request is a request as the library asks about it.
type request struct{ admission.Attributes }

// GetObject is part of api.Attributes.
func (r request) GetObject() (runtime.Object, error) { return r.Attributes.GetObject(), nil }

// GetOldObject is part of api.Attributes.
func (r request) GetOldObject() (runtime.Object, error) { return r.Attributes.GetOldObject(), nil }

// GetOperation is part of api.Attributes.
func (r request) GetOperation() admissionv1.Operation {
	return admissionv1.Operation(r.Attributes.GetOperation())
}

// GetUserName is part of api.Attributes.
func (r request) GetUserName() string { return r.GetUserInfo().GetName() }

// stored reads namespaces and pods from the watch cache of their storage.
type stored struct{ Server }

// GetNamespace is part of security.NamespaceGetter. What the cache lacks may be a moment old.
func (s stored) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	ctx = genericapirequest.WithNamespace(ctx, "")
	obj, err := s.Namespaces.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		obj, err = s.Namespaces.Get(ctx, name, &metav1.GetOptions{})
	}
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}

// ListPods is part of security.PodLister.
func (s stored) ListPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	list, err := s.Pods.List(genericapirequest.WithNamespace(ctx, namespace), &metainternalversion.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("pods of namespace %s: %w", namespace, err)
	}
	items := list.(*corev1.PodList).Items
	all := make([]*corev1.Pod, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all, nil
}
