//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that people use.

package registry

import (
	"context"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"
)

// endpointsDeprecated is the warning every request for Endpoints gets, as upstream since 1.33 (KEP-4974, rule E38).
const endpointsDeprecated = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"

func endpoints() *kind[*corev1.Endpoints] {
	return &kind[*corev1.Endpoints]{
		plural: "endpoints", singular: "endpoints", short: []string{"ep"}, createOnUpdate: true,
		new:  func() *corev1.Endpoints { return &corev1.Endpoints{} },
		list: func() runtime.Object { return &corev1.EndpointsList{} },
		// Any valid object name will do: an Endpoints object may stand for something that is no Service.
		validate: func(_ context.Context, e *corev1.Endpoints) field.ErrorList {
			return append(validateMeta(&e.ObjectMeta, true, apivalidation.NameIsDNSSubdomain), validateSubsets(e)...)
		},
		validateUpdate: validateEndpointsUpdate,
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Endpoints", "string", corev1.Endpoints{}.SwaggerDoc()["subsets"]),
			age(),
		},
		row: func(e *corev1.Endpoints) []any {
			return []any{e.Name, endpointList(e), since(e.CreationTimestamp)}
		},
	}
}

// defaultEndpoints fills in the protocol of ports (rule S13).
func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			setDefault(&e.Subsets[i].Ports[j].Protocol, corev1.ProtocolTCP)
		}
	}
}

// validateEndpointsUpdate lets subsets stay that would be refused today.
func validateEndpointsUpdate(_ context.Context, e, old *corev1.Endpoints) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&e.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	errs = append(errs, validateMeta(&e.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)...)
	if bad := validateSubsets(e); len(bad) > 0 && !equality.Semantic.DeepEqual(e.Subsets, old.Subsets) {
		errs = append(errs, bad...)
	}
	return errs
}

// validateSubsets checks addresses and ports (rule E39).
func validateSubsets(e *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	check := validateEndpointAddress
	if publishesServer(&e.ObjectMeta) {
		check = func(path *field.Path, ip string) field.ErrorList {
			return validation.IsValidIPForLegacyField(path, ip, true, nil)
		}
	}
	for i := range e.Subsets {
		subset, path := &e.Subsets[i], field.NewPath("subsets").Index(i)
		if len(subset.Addresses) == 0 && len(subset.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(path, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range subset.Addresses {
			errs = append(errs, validateEndpoint(&subset.Addresses[j], check, path.Child("addresses").Index(j))...)
		}
		for j := range subset.NotReadyAddresses {
			errs = append(errs, validateEndpoint(&subset.NotReadyAddresses[j], check, path.Child("notReadyAddresses").Index(j))...)
		}
		for j := range subset.Ports {
			errs = append(errs, validateEndpointPort(&subset.Ports[j], len(subset.Ports) > 1, path.Child("ports").Index(j))...)
		}
	}
	return errs
}

func validateEndpoint(address *corev1.EndpointAddress, check func(*field.Path, string) field.ErrorList, path *field.Path) field.ErrorList {
	errs := check(path.Child("ip"), address.IP)
	if address.Hostname != "" {
		errs = append(errs, validateLabel(path.Child("hostname"), address.Hostname)...)
	}
	// The name of a node that is not there yet, or not one of the cluster's, is accepted if it could be one.
	if address.NodeName != nil {
		errs = append(errs, invalid(path.Child("nodeName"), *address.NodeName, apivalidation.NameIsDNSSubdomain(*address.NodeName, false))...)
	}
	return errs
}

func validateEndpointPort(port *corev1.EndpointPort, named bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if named && port.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else if port.Name != "" {
		errs = append(errs, validateLabel(path.Child("name"), port.Name)...)
	}
	errs = append(errs, validatePort(path.Child("port"), port.Port)...)
	errs = append(errs, validateProtocol(path.Child("protocol"), port.Protocol)...)
	return append(errs, validateAppProtocol(path.Child("appProtocol"), port.AppProtocol)...)
}

// endpointList shows the first three ready endpoints and how many more there are (rule S160).
func endpointList(e *corev1.Endpoints) string {
	const most = 3
	var shown []string
	count := 0
	for i := range e.Subsets {
		subset := &e.Subsets[i]
		if len(subset.Ports) == 0 { // headless without ports: addresses alone
			for j := range subset.Addresses {
				if count++; count <= most {
					shown = append(shown, subset.Addresses[j].IP)
				}
			}
			continue
		}
		for _, port := range subset.Ports {
			for j := range subset.Addresses {
				if count++; count <= most {
					shown = append(shown, net.JoinHostPort(subset.Addresses[j].IP, strconv.Itoa(int(port.Port))))
				}
			}
		}
	}
	list := strings.Join(shown, ",")
	if count > most {
		list += " + " + strconv.Itoa(count-most) + " more..."
	}
	return orNone(list)
}

// endpointsStore is the storage of Endpoints, with the warning. k8s.io/apiserver warns by itself of types that say when
// they were deprecated, but the type in k8s.io/api does not say.
type endpointsStore struct{ store[*corev1.Endpoints] }

var _ rest.StandardStorage = endpointsStore{}

func warnEndpoints(ctx context.Context) { warning.AddWarning(ctx, "", endpointsDeprecated) }

// Get reads one object.
func (s endpointsStore) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	warnEndpoints(ctx)
	return s.store.Get(ctx, name, options)
}

// List reads the objects selected.
func (s endpointsStore) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	warnEndpoints(ctx)
	return s.store.List(ctx, options)
}

// Watch follows the objects selected.
func (s endpointsStore) Watch(ctx context.Context, options *internalversion.ListOptions) (watch.Interface, error) {
	warnEndpoints(ctx)
	return s.store.Watch(ctx, options)
}

// Create stores a new object.
func (s endpointsStore) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	warnEndpoints(ctx)
	return s.store.Create(ctx, obj, validate, options)
}

// Update changes an object, or creates it.
func (s endpointsStore) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, force bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	warnEndpoints(ctx)
	return s.store.Update(ctx, name, info, create, update, force, options)
}

// Delete removes an object.
func (s endpointsStore) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	warnEndpoints(ctx)
	return s.store.Delete(ctx, name, validate, options)
}

// DeleteCollection removes the objects selected.
func (s endpointsStore) DeleteCollection(ctx context.Context, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions, list *internalversion.ListOptions) (runtime.Object, error) {
	warnEndpoints(ctx)
	return s.store.DeleteCollection(ctx, validate, options, list)
}
