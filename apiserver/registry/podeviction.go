package registry

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

// eviction is the eviction subresource of pods, by which drain asks a pod to leave. A PodDisruptionBudget of the pod is asked first.
// The rules and their words are those of k8s.io/kubernetes/pkg/registry/core/pod/storage, EvictionREST, which works on internal pods
// and calls the server for budgets; here a budget is read and decremented in one transaction of the store.
type eviction struct{ pods, budgets *genericregistry.Store }

var (
	_ rest.NamedCreater             = eviction{}
	_ rest.GroupVersionKindProvider = eviction{}
)

// evictionTries bounds how often an eviction begins again because its pod changed meanwhile, as upstream.
var evictionTries = wait.Backoff{Steps: 20, Duration: 500 * time.Millisecond, Factor: 1, Jitter: 0.1}

// GroupVersionKind is policy/v1 Eviction, by which kubectl drain finds that evictions are supported.
func (eviction) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return policyv1.SchemeGroupVersion.WithKind("Eviction")
}

// New returns an empty eviction.
func (eviction) New() runtime.Object { return &policyv1.Eviction{} }

// Destroy does nothing: the storage belongs to pods.
func (eviction) Destroy() {}

// Create deletes the pod gracefully, noting in its conditions that it was evicted, unless a budget is against it: 429, to try again.
func (e eviction) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	evict, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not an Eviction object: %T", obj))
	}
	how, err := evictionOptions(name, evict, options)
	if err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(ctx, evict.DeepCopy()); err != nil {
			return nil, err
		}
	}
	pod, gone, err := e.evictUnbound(ctx, name, how)
	if err == nil && !gone {
		err = e.evictBudgeted(ctx, pod, how)
	}
	if errors.Is(err, moreBudgets) { // upstream answers so, as if something had been made
		return moreBudgets.ErrStatus.DeepCopy(), nil
	}
	if err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// evictionOptions is how the pod is to be deleted. That it is a trial may be said in the query or in the eviction.
func evictionOptions(name string, evict *policyv1.Eviction, options *metav1.CreateOptions) (*metav1.DeleteOptions, error) {
	if name != evict.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	if evict.DeleteOptions == nil {
		return &metav1.DeleteOptions{DryRun: options.DryRun}, nil
	}
	how := evict.DeleteOptions.DeepCopy()
	if ptr.Deref(how.IgnoreStoreReadErrorWithClusterBreakingPotential, false) {
		return nil, apierrors.NewInvalid(policyv1.SchemeGroupVersion.WithKind("Eviction").GroupKind(), name, field.ErrorList{
			field.Invalid(field.NewPath("deleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential"), true, "can not be set for pod eviction, try after removing the option"),
		})
	}
	if len(how.DryRun) == 0 {
		how.DryRun = options.DryRun
	} else if len(options.DryRun) > 0 && !reflect.DeepEqual(how.DryRun, options.DryRun) {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Non-matching dry-run options in request and content: %v and %v", options.DryRun, how.DryRun))
	}
	return how, nil
}

// evictUnbound evicts a pod that no budget is about: it serves nobody, not yet or not any more. Another one it returns.
func (e eviction) evictUnbound(ctx context.Context, name string, how *metav1.DeleteOptions) (pod *corev1.Pod, gone bool, err error) {
	again := func(err error) bool { return apierrors.IsConflict(err) && anyVersion(how) }
	err = retry.OnError(evictionTries, again, func() error {
		obj, err := e.pods.Get(ctx, name, &metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod = obj.(*corev1.Pod)
		ended := api.Finished(pod) || !pod.DeletionTimestamp.IsZero()
		if !ended && pod.Status.Phase != corev1.PodPending {
			return nil
		}
		if !ended && anyVersion(how) { // it may become ready at any moment
			gone = true
			return e.remove(ctx, name, ofVersion(how, pod.ResourceVersion))
		}
		gone = true
		return e.remove(ctx, name, how)
	})
	return pod, gone, err
}

// evictBudgeted evicts a running pod if its budget allows it.
func (e eviction) evictBudgeted(ctx context.Context, pod *corev1.Pod, how *metav1.DeleteOptions) error {
	budgets, err := e.budgetsOf(ctx, pod)
	switch {
	case err != nil:
		return err
	case len(budgets) == 0:
		return e.remove(ctx, pod.Name, how)
	case len(budgets) > 1:
		return moreBudgets
	}
	budget := budgets[0]
	if !api.PodReady(pod) && unhealthyMayGo(budget) {
		// It serves nobody and does not count. But it must still be so when it is deleted.
		err := e.remove(ctx, pod.Name, ofVersion(how, pod.ResourceVersion))
		if apierrors.IsConflict(err) && anyVersion(how) {
			return stillProcessed(budget.Name)
		}
		return err
	}
	if err := e.spend(ctx, budget.Name, pod.Name, how.DryRun); err != nil {
		return err
	}
	return e.remove(ctx, pod.Name, how)
}

// moreBudgets is upstream's answer, code and words.
var moreBudgets = &apierrors.StatusError{ErrStatus: metav1.Status{
	Status: metav1.StatusFailure, Code: 500,
	Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
}}

// spend takes one of the disruptions that a budget allows, and notes for whom, so that its controller does not count the pod.
func (e eviction) spend(ctx context.Context, budget, pod string, dry []string) error {
	key, err := e.budgets.KeyFunc(ctx, budget)
	if err != nil {
		return err
	}
	err = e.budgets.Storage.GuaranteedUpdate(ctx, key, &policyv1.PodDisruptionBudget{}, false, nil,
		storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			b := obj.(*policyv1.PodDisruptionBudget)
			return b, spendOne(b, pod, time.Now())
		}), dryrun.IsDryRun(dry), nil)
	return storageerrors.InterpretUpdateError(err, policyv1.Resource("poddisruptionbudgets"), budget)
}

// remove notes in the pod's conditions why it ends, and deletes it.
func (e eviction) remove(ctx context.Context, name string, how *metav1.DeleteOptions) error {
	if !dryrun.IsDryRun(how.DryRun) {
		version, err := e.mark(ctx, name, how.Preconditions)
		if err != nil {
			return err
		}
		if !anyVersion(how) {
			how = ofVersion(how, version) // the condition has just changed it
		}
	}
	_, _, err := e.pods.Delete(ctx, name, rest.ValidateAllObjectFunc, how)
	return err
}

// mark sets the condition that the pod was evicted, if it still is as the client means, and returns the pod's version after that.
func (e eviction) mark(ctx context.Context, name string, only *metav1.Preconditions) (string, error) {
	key, err := e.pods.KeyFunc(ctx, name)
	if err != nil {
		return "", err
	}
	preconditions := &storage.Preconditions{}
	if only != nil {
		preconditions.UID, preconditions.ResourceVersion = only.UID, only.ResourceVersion
	}
	marked := &corev1.Pod{}
	err = e.pods.Storage.GuaranteedUpdate(ctx, key, marked, false, preconditions, storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		pod := obj.(*corev1.Pod)
		setPodCondition(pod, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
		})
		return pod, nil
	}), false, nil)
	return marked.ResourceVersion, storageerrors.InterpretUpdateError(err, corev1.Resource("pods"), name)
}

func anyVersion(how *metav1.DeleteOptions) bool {
	return how.Preconditions == nil || how.Preconditions.ResourceVersion == nil
}

func ofVersion(how *metav1.DeleteOptions, version string) *metav1.DeleteOptions {
	how = how.DeepCopy()
	if how.Preconditions == nil {
		how.Preconditions = &metav1.Preconditions{}
	}
	how.Preconditions.ResourceVersion = &version
	return how
}
