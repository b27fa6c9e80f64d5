package registry

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api"
)

// The kinds of this file show what upstream keeps as objects of their own: the ranges of Service addresses (rule S30)
// and each address in use (rule S29). Here the Services themselves are the one record, so both are read-only views of
// them, made for each request. They cannot be watched or written.

// view is a resource that is made from the stored Services when it is read.
type view[T object] struct {
	table[T]
	services *genericregistry.Store
	items    func([]corev1.Service) []T
	pack     func([]T, string) runtime.Object // the list with its resource version
}

var (
	_ rest.Lister             = view[object]{}
	_ rest.Getter             = view[object]{}
	_ rest.Scoper             = view[object]{}
	_ rest.ShortNamesProvider = view[object]{}
)

// New returns an empty object.
func (v view[T]) New() runtime.Object { return v.kind.new() }

// NewList returns an empty list.
func (v view[T]) NewList() runtime.Object { return v.kind.list() }

// Destroy does nothing: the storage belongs to Services.
func (view[T]) Destroy() {}

// NamespaceScoped is false: ranges and addresses are of the cluster.
func (view[T]) NamespaceScoped() bool { return false }

// GetSingularName is the name kubectl accepts for one.
func (v view[T]) GetSingularName() string { return v.kind.singular }

// ShortNames are the abbreviations kubectl accepts.
func (v view[T]) ShortNames() []string { return v.kind.short }

// List makes every object and keeps those the selectors match.
func (v view[T]) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	label, field := labels.Everything(), fields.Everything()
	if options != nil && options.LabelSelector != nil {
		label = options.LabelSelector
	}
	if options != nil && options.FieldSelector != nil {
		field = options.FieldSelector
	}
	all, version, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(o T) bool {
		return !label.Matches(labels.Set(o.GetLabels())) || !field.Matches(fields.Set{"metadata.name": o.GetName()})
	})
	return v.pack(all, version), nil
}

// Get makes one object.
func (v view[T]) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	all, _, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o.GetName() == name {
			return o, nil
		}
	}
	return nil, apierrors.NewNotFound(v.kind.resource(), name)
}

func (v view[T]) all(ctx context.Context) ([]T, string, error) {
	ctx = genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)
	everything := v.services.PredicateFunc(labels.Everything(), fields.Everything())
	list, err := v.services.ListPredicate(ctx, everything, &internalversion.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, "", err
	}
	services := list.(*corev1.ServiceList)
	return v.items(services.Items), services.ResourceVersion, nil
}

// ipAddresses shows the cluster addresses of Services, each named by itself, with the Service that has it as its parent.
func ipAddresses(services *genericregistry.Store) view[*networkingv1.IPAddress] {
	return view[*networkingv1.IPAddress]{
		services: services,
		items:    addressObjects,
		pack: func(items []*networkingv1.IPAddress, version string) runtime.Object {
			list := &networkingv1.IPAddressList{ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: []networkingv1.IPAddress{}}
			for _, item := range items {
				list.Items = append(list.Items, *item)
			}
			return list
		},
		table: table[*networkingv1.IPAddress]{&kind[*networkingv1.IPAddress]{
			group: networkingv1.GroupName, plural: "ipaddresses", singular: "ipaddress", short: []string{"ip"}, cluster: true,
			new:     func() *networkingv1.IPAddress { return &networkingv1.IPAddress{} },
			list:    func() runtime.Object { return &networkingv1.IPAddressList{} },
			columns: []metav1.TableColumnDefinition{name(), column("ParentRef", "string", networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"])},
			row: func(a *networkingv1.IPAddress) []any {
				p := a.Spec.ParentRef
				return []any{a.Name, p.Resource + "/" + p.Namespace + "/" + p.Name}
			},
		}},
	}
}

func addressObjects(services []corev1.Service) []*networkingv1.IPAddress {
	var all []*networkingv1.IPAddress
	for i := range services {
		svc := &services[i]
		for _, addr := range clusterAddrs(svc) {
			all = append(all, &networkingv1.IPAddress{
				ObjectMeta: metav1.ObjectMeta{
					Name: addr.String(), UID: svc.UID, CreationTimestamp: svc.CreationTimestamp, ResourceVersion: svc.ResourceVersion,
					Labels: map[string]string{
						networkingv1.LabelIPAddressFamily: string(api.Family(addr)),
						networkingv1.LabelManagedBy:       "ipallocator.k8s.io",
					},
				},
				Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: svc.Namespace, Name: svc.Name}},
			})
		}
	}
	slices.SortFunc(all, func(a, b *networkingv1.IPAddress) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// serviceCIDRs shows the ranges the server was started with as the object upstream makes of them, named kubernetes. It is
// as old as the API's own Service.
func serviceCIDRs(services *genericregistry.Store, ranges []netip.Prefix) view[*networkingv1.ServiceCIDR] {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		texts[i] = r.String()
	}
	return view[*networkingv1.ServiceCIDR]{
		services: services,
		items: func(services []corev1.Service) []*networkingv1.ServiceCIDR {
			one := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: texts}}
			for i := range services {
				if svc := &services[i]; api.Name(svc) == api.APIService {
					one.UID, one.CreationTimestamp, one.ResourceVersion = svc.UID, svc.CreationTimestamp, svc.ResourceVersion
				}
			}
			one.Status.Conditions = []metav1.Condition{{
				Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue, Message: "Kubernetes Service CIDR is ready",
				LastTransitionTime: one.CreationTimestamp,
			}}
			return []*networkingv1.ServiceCIDR{one}
		},
		pack: func(items []*networkingv1.ServiceCIDR, version string) runtime.Object {
			list := &networkingv1.ServiceCIDRList{ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: []networkingv1.ServiceCIDR{}}
			for _, item := range items {
				list.Items = append(list.Items, *item)
			}
			return list
		},
		table: table[*networkingv1.ServiceCIDR]{&kind[*networkingv1.ServiceCIDR]{
			group: networkingv1.GroupName, plural: "servicecidrs", singular: "servicecidr", cluster: true,
			new:     func() *networkingv1.ServiceCIDR { return &networkingv1.ServiceCIDR{} },
			list:    func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
			columns: []metav1.TableColumnDefinition{name(), column("CIDRs", "string", networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"]), age()},
			row: func(c *networkingv1.ServiceCIDR) []any {
				return []any{c.Name, strings.Join(c.Spec.CIDRs, ","), since(c.CreationTimestamp)}
			},
		}},
	}
}
