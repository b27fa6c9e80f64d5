package nodelink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Resolver finds who answers for a Service. The API server may run where no node's proxy rules are, so it
// goes to an endpoint itself.
type Resolver struct {
	Services rest.Getter
	Slices   rest.Lister
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // to an endpoint, see Link.Dial
}

// ResolveEndpoint is where to send a request to a port of a Service: webhook.ServiceResolver.
func (r Resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	ctx := genericapirequest.WithNamespace(context.Background(), namespace)
	at, err := r.endpoint(ctx, name, strconv.Itoa(int(port)))
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(corev1.Resource("service"), name) // upstream's word
	}
	if err != nil {
		return nil, err
	}
	return outside("https", at.Addr().String(), strconv.Itoa(int(at.Port())))
}

// endpoint is a ready endpoint of a Service in the namespace of ctx. asked is the name or the number of its
// port, or "" when it has only one.
func (r Resolver) endpoint(ctx context.Context, name, asked string) (netip.AddrPort, error) {
	obj, err := r.Services.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := servicePort(obj.(*corev1.Service), asked)
	if err != nil {
		return netip.AddrPort{}, err
	}
	of := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name})
	list, err := r.Slices.List(ctx, &metainternalversion.ListOptions{LabelSelector: of})
	if err != nil {
		return netip.AddrPort{}, err
	}
	at, ok := readyEndpoint(list.(*discoveryv1.EndpointSliceList).Items, port, rand.IntN)
	if !ok {
		return netip.AddrPort{}, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	return at, nil
}
