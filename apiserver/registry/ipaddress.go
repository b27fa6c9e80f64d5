package registry

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/storage"
	networking "k8s.io/kubernetes/pkg/apis/networking"
	convert "k8s.io/kubernetes/pkg/apis/networking/v1"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"

	"fairlead.dev/fairlead/api"
)

// givenByUs is the value of the label that says who made an IPAddress, of those that go with Services.
const givenByUs = "ipallocator.k8s.io"

// ipAddresses are the addresses that are taken (rule S29): one goes with each address of a Service, written with it, and users may
// make further ones, whose addresses no Service gets.
func ipAddresses() *kind[*networkingv1.IPAddress] {
	return adopt(foreign[*networkingv1.IPAddress, *networking.IPAddress]{
		strategy: ipaddress.Strategy,
		in:       convert.Convert_v1_IPAddress_To_networking_IPAddress, out: convert.Convert_networking_IPAddress_To_v1_IPAddress,
	}, kind[*networkingv1.IPAddress]{
		group: networkingv1.GroupName, plural: "ipaddresses", singular: "ipaddress", short: []string{"ip"}, unwatched: true,
		list: func() runtime.Object { return &networkingv1.IPAddressList{} },
	})
}

// Alongside is what is written in one transaction with a Service: the IPAddress objects of addresses that it gets, which must not
// exist yet, and the names of those that it no longer has; the node ports that it gets, which nobody may have, and those that it no
// longer has.
type Alongside struct {
	Put  []*networkingv1.IPAddress
	Gone []string

	Owner       types.UID
	Claim, Free []int
}

// Empty says whether there is nothing.
func (a *Alongside) Empty() bool {
	return a == nil || len(a.Put)+len(a.Gone)+len(a.Claim)+len(a.Free) == 0
}

type alongsideKey struct{}

// AlongsideOf is what the write of ctx is to carry out as well; nil: nothing.
func AlongsideOf(ctx context.Context) *Alongside {
	a, _ := ctx.Value(alongsideKey{}).(*Alongside)
	return a
}

// with is a context whose write carries out a, which is filled in when it is known what is written.
func with(ctx context.Context, a *Alongside) context.Context {
	return context.WithValue(ctx, alongsideKey{}, a)
}

// addressesOf are the IPAddresses of the numbers that svc gets.
func addressesOf(svc *corev1.Service, taken []number) []*networkingv1.IPAddress {
	var all []*networkingv1.IPAddress
	for _, x := range taken {
		if x.addr.IsValid() {
			all = append(all, addressOf(svc, x.addr))
		}
	}
	return all
}

func addressOf(svc *corev1.Service, addr netip.Addr) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: addr.String(), UID: uuid.NewUUID(), CreationTimestamp: metav1.Now(),
			Labels: map[string]string{networkingv1.LabelIPAddressFamily: string(api.Family(addr)), networkingv1.LabelManagedBy: givenByUs},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: svc.Namespace, Name: svc.Name}},
	}
}

// addressBook is the storage of IPAddresses that has a user's reserve the address.
type addressBook struct {
	storage.Interface
	services *serviceStore
}

// Create is part of storage.Interface. An address that a Service has exists already, its object or not.
func (b addressBook) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	ip := obj.(*networkingv1.IPAddress)
	x, ok := numberOf(ip)
	if !ok || ctx.Value(repairKey{}) != nil {
		return b.Interface.Create(ctx, key, obj, out, ttl)
	}
	if err := b.services.load(ctx); err != nil {
		return err
	}
	n := b.services.numbers
	if !n.reserve(x, ip.UID, true) {
		return storage.NewKeyExistsError(key, 0)
	}
	err := b.Interface.Create(ctx, key, obj, out, ttl)
	switch {
	case err == nil:
		n.settled([]number{x}, ip.UID)
	case Unwritten(err):
		n.release([]number{x}, ip.UID)
	default:
		n.settled([]number{x}, ip.UID)
		b.services.wonder()
	}
	return err
}

// Delete is part of storage.Interface. The address of a Service stays the Service's, and the repair makes its object anew.
func (b addressBook) Delete(ctx context.Context, key string, out runtime.Object, conditions *storage.Preconditions, validate storage.ValidateObjectFunc,
	cached runtime.Object, options storage.DeleteOptions) error {
	err := b.Interface.Delete(ctx, key, out, conditions, validate, cached, options)
	if err == nil {
		ip := out.(*networkingv1.IPAddress)
		if x, ok := numberOf(ip); ok {
			b.services.numbers.release([]number{x}, ip.UID)
		}
		if ours(ip) {
			b.services.wonder()
		}
	} else if !Unwritten(err) {
		b.services.wonder()
	}
	return err
}

// ours reports whether an IPAddress says that it goes with a Service.
func ours(ip *networkingv1.IPAddress) bool {
	return ip.Labels[networkingv1.LabelManagedBy] == givenByUs
}

func numberOf(ip *networkingv1.IPAddress) (number, bool) {
	addr, err := netip.ParseAddr(ip.Name)
	return number{addr: addr.Unmap()}, err == nil
}

// reserve takes an address, of a range or not, for the IPAddress uid, and reports whether it was free.
func (n *numbers) reserve(x number, uid types.UID, writing bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.holders[x]; taken {
		return false
	}
	n.enter(x.addr)
	n.takings++
	n.holders[x] = holder{uid, writing, true, n.takings}
	return true
}

// heldBy are the names of the addresses among xs that uid has, or that nobody else is known to have: another server gave them.
func (n *numbers) heldBy(xs []number, uid types.UID) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, x := range xs {
		h, known := n.holders[x]
		if x.addr.IsValid() && (!known || h.uid == uid || h.uid == elsewhere) {
			names = append(names, x.addr.String())
		}
	}
	return names
}
