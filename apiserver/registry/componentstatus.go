package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
)

// componentStatuses says how what the API server needs is at the moment: etcd. Nothing is stored. Upstream, where the kind is deprecated,
// also asks the scheduler's and the controllers' processes, which are none here.
type componentStatuses struct {
	table[*corev1.ComponentStatus]
	revision func(context.Context) (uint64, error) // asks etcd
}

var (
	_ rest.Getter               = componentStatuses{}
	_ rest.Lister               = componentStatuses{}
	_ rest.Scoper               = componentStatuses{}
	_ rest.ShortNamesProvider   = componentStatuses{}
	_ rest.SingularNameProvider = componentStatuses{}
)

func newComponentStatuses(etcd storage.Interface) componentStatuses {
	f := foreign[*corev1.ComponentStatus, *core.ComponentStatus]{in: convert.Convert_v1_ComponentStatus_To_core_ComponentStatus}
	return componentStatuses{table[*corev1.ComponentStatus]{&kind[*corev1.ComponentStatus]{plural: "componentstatuses", print: f.print}}, etcd.GetCurrentResourceVersion}
}

// New returns an empty status.
func (componentStatuses) New() runtime.Object { return &corev1.ComponentStatus{} }

// NewList returns an empty list.
func (componentStatuses) NewList() runtime.Object { return &corev1.ComponentStatusList{} }

// Destroy does nothing: nothing is stored.
func (componentStatuses) Destroy() {}

// NamespaceScoped is part of rest.Scoper.
func (componentStatuses) NamespaceScoped() bool { return false }

// ShortNames are the abbreviations kubectl accepts.
func (componentStatuses) ShortNames() []string { return []string{"cs"} }

// GetSingularName is part of rest.SingularNameProvider.
func (componentStatuses) GetSingularName() string { return "componentstatus" }

const etcdComponent = "etcd-0" // upstream's name

// Get asks how a component is.
func (c componentStatuses) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	if name != etcdComponent {
		return nil, apierrors.NewNotFound(corev1.Resource("componentstatus"), name)
	}
	status := c.etcd(ctx)
	return &status, nil
}

// List asks how all components are.
func (c componentStatuses) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	list := &corev1.ComponentStatusList{Items: []corev1.ComponentStatus{}}
	wanted := options == nil || (options.LabelSelector == nil || options.LabelSelector.Matches(labels.Set{})) &&
		(options.FieldSelector == nil || options.FieldSelector.Matches(fields.Set{"metadata.name": etcdComponent}))
	if wanted {
		list.Items = append(list.Items, c.etcd(ctx))
	}
	return list, nil
}

func (c componentStatuses) etcd(ctx context.Context) corev1.ComponentStatus {
	condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}
	if _, err := c.revision(ctx); err != nil {
		condition.Status, condition.Message, condition.Error = corev1.ConditionFalse, "", err.Error()
	}
	return corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: etcdComponent}, Conditions: []corev1.ComponentCondition{condition}}
}
