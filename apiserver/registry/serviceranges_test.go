package registry_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"fairlead.dev/fairlead/internal/apitest"
)

func reservation(address string) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: address, Labels: map[string]string{"kept": "yes"}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Group: "example.com", Resource: "boxes", Namespace: "a", Name: "b"}}}
}

// Rule S29: users make, watch, change and delete IPAddresses, and no Service gets the address of one.
func TestS29_AddressesOfUsers(t *testing.T) {
	dir := t.TempDir()
	api, stop := apitest.Run(t, apitest.Config(t, dir))
	s := connect(t, api.ClientConfig())
	ips := s.NetworkingV1().IPAddresses()
	seen, err := ips.Watch(t.Context(), metav1.ListOptions{LabelSelector: "kept=yes"})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"10.97.72.5", "255.255.255.255", "fe80::42:1dff:fe84:f9e2"} {
		if _, err := ips.Create(t.Context(), reservation(address), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ips.Patch(t.Context(), "10.97.72.5", types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{})
	if err != nil || got.Annotations["a"] != "b" {
		t.Errorf("%v %v", got, err)
	}
	got.Spec.ParentRef.Name = "other"
	if _, err := ips.Update(t.Context(), got, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("the parent was changed: %v", err)
	}
	if _, err := ips.Create(t.Context(), reservation("10.97.72.005"), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("not an address: %v", err)
	}
	for i, want := range []watch.EventType{watch.Added, watch.Added, watch.Added, watch.Modified} {
		if e := <-seen.ResultChan(); e.Type != want { // a channel that closes gives none
			t.Fatalf("event %d: %v, not %s", i, e, want)
		}
	}
	stop()
	api, _ = apitest.Run(t, apitest.Config(t, dir))
	s = connect(t, api.ClientConfig())
	ips = s.NetworkingV1().IPAddresses()
	const wanted = "{clusterIP: 10.97.72.5, ports: [{port: 80}]}"
	if err := s.createError(t, "a", wanted); !strings.Contains(err.Error(), "provided IP is already allocated") {
		t.Error(err)
	}
	if err := ips.Delete(t.Context(), "10.97.72.5", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	svc := s.create(t, "a", wanted)
	if ip, err := ips.Get(t.Context(), "10.97.72.5", metav1.GetOptions{}); err != nil || ip.ResourceVersion != svc.ResourceVersion || ip.Spec.ParentRef.Name != "a" {
		t.Errorf("not written in one transaction with its Service: %v, %v", ip, err)
	}
	if _, err := ips.Create(t.Context(), reservation("10.97.72.5"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("the address of a Service: %v", err)
	}
	if err := ips.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "kept=yes"}); err != nil {
		t.Fatal(err)
	}
	list, err := ips.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 3 {
		t.Errorf("%v %v", list, err)
	}
}

// Rule S29: what differs from the Services is put right: an object that is gone, also of a Service of before there were any, and one
// that says it goes with a Service and does not.
func TestS29_Repair(t *testing.T) {
	dir := t.TempDir()
	cfg := apitest.Config(t, dir)
	api, stop := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	svc := s.create(t, "a", "{clusterIP: 10.97.72.1, ports: [{port: 80}]}")
	if err := s.NetworkingV1().IPAddresses().Delete(t.Context(), "10.97.72.1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.createError(t, "b", "{clusterIP: 10.97.72.1, ports: [{port: 80}]}"); !strings.Contains(err.Error(), "already allocated") {
		t.Error(err)
	}
	stop()
	old := svc.DeepCopy()
	old.Name, old.UID, old.Spec.ClusterIP, old.Spec.ClusterIPs = "old", "a-b-c", "10.97.72.2", []string{"10.97.72.2"}
	put(t, dir, "/registry/services/default/old", old)
	api, _ = apitest.Run(t, cfg)
	s = connect(t, api.ClientConfig())
	lost := reservation("10.97.72.3")
	lost.Labels[networkingv1.LabelManagedBy] = "ipallocator.k8s.io"
	if _, err := s.NetworkingV1().IPAddresses().Create(t.Context(), lost, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.NetworkingV1().IPAddresses().Delete(t.Context(), "10.97.72.1", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	eventually(t, func() error {
		time.Sleep(50 * time.Millisecond)
		for address, parent := range map[string]string{"10.97.72.1": "a", "10.97.72.2": "old"} {
			ip, err := s.NetworkingV1().IPAddresses().Get(t.Context(), address, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if ip.Spec.ParentRef.Name != parent || ip.Spec.ParentRef.Resource != "services" {
				return fmt.Errorf("%s: %+v", address, ip.Spec.ParentRef)
			}
		}
		if _, err := s.NetworkingV1().IPAddresses().Get(t.Context(), "10.97.72.3", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}

func (s *server) addRange(t *testing.T, name string, cidrs ...string) error {
	t.Helper()
	_, err := s.NetworkingV1().ServiceCIDRs().Create(t.Context(),
		&networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}, metav1.CreateOptions{})
	return err
}

// awaitRange waits until the condition Ready of a ServiceCIDR has a status and a reason.
func (s *server) awaitRange(t *testing.T, name string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	eventually(t, func() error {
		c, err := s.NetworkingV1().ServiceCIDRs().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ready := meta.FindStatusCondition(c.Status.Conditions, "Ready"); ready == nil || ready.Status != status || ready.Reason != reason {
			return fmt.Errorf("%s: %+v", name, ready)
		}
		if len(c.Finalizers) != 1 {
			return fmt.Errorf("%s: finalizers %v", name, c.Finalizers)
		}
		return nil
	})
}

// Rule S30: further ranges are added, give addresses when the first is full, and stay as long as a Service has one.
func TestS30_FurtherRanges(t *testing.T) {
	dir := t.TempDir()
	cfg := apitest.Config(t, dir)
	cfg.ServiceCIDRs, cfg.ClusterDNS = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29")}, []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	api, stop := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	for i := range 4 {
		s.create(t, fmt.Sprintf("a%d", i), "ports: [{port: 80}]")
	}
	full := s.createError(t, "b", "ports: [{port: 80}]")
	if !strings.Contains(full.Error(), "range is full") {
		t.Error(full)
	}
	if err := s.addRange(t, "more", "203.0.113.0/29"); err != nil {
		t.Fatal(err)
	}
	s.awaitRange(t, "more", metav1.ConditionTrue, "")
	svc := s.create(t, "b", "ports: [{port: 80}]")
	if !strings.HasPrefix(svc.Spec.ClusterIP, "203.0.113.") {
		t.Errorf("%s", svc.Spec.ClusterIP)
	}
	stop()
	api, _ = apitest.Run(t, cfg)
	s = connect(t, api.ClientConfig())
	second := s.create(t, "c", "ports: [{port: 80}]")
	if !strings.HasPrefix(second.Spec.ClusterIP, "203.0.113.") || second.Spec.ClusterIP == svc.Spec.ClusterIP {
		t.Errorf("after a restart: %s", second.Spec.ClusterIP)
	}
	for _, name := range []string{"more", "kubernetes"} {
		if err := s.NetworkingV1().ServiceCIDRs().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		s.awaitRange(t, name, metav1.ConditionFalse, "Terminating")
	}
	if err := s.createError(t, "d", "ports: [{port: 80}]"); !strings.Contains(err.Error(), "range is full") {
		t.Error(err)
	}
	if err := s.createError(t, "d", "{clusterIP: 203.0.113.6, ports: [{port: 80}]}"); !strings.Contains(err.Error(), "not in the valid range") {
		t.Error(err)
	}
	if err := s.addRange(t, "wide", "10.0.0.0/24", "fd00::/112"); !strings.Contains(fmt.Sprint(err), "nodes serve no addresses of this family") {
		t.Error(err)
	}
	if err := s.addRange(t, "wide", "10.0.0.0/24"); err != nil { // holds what kubernetes has, which may go and comes back
		t.Fatal(err)
	}
	s.awaitRange(t, "kubernetes", metav1.ConditionTrue, "")
	s.create(t, "d", "ports: [{port: 80}]")
	s.remove(t, "b")
	s.remove(t, "c")
	eventually(t, func() error {
		_, err := s.NetworkingV1().ServiceCIDRs().Get(t.Context(), "more", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	if twice := s.twice(t); len(twice) > 0 {
		t.Error(twice)
	}
}

// A ServiceCIDR whose addresses nodes would not serve is refused, as is what upstream refuses.
func TestS30_RefusedRanges(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	api, _ := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	for cidrs, want := range map[string]string{
		"10.244.3.0/24":             "must not overlap the addresses of pods",
		"fd00:1::/112":              "nodes serve no addresses of this family",
		"203.0.113.1/32":            "it holds no usable address",
		"203.0.113.1/24":            "must not have bits set beyond the prefix length",
		"203.0.113":                 "must be a valid CIDR value",
		"10.1.0.0/24,10.2.0.0/24":   "may specify no more than one IP for each IP family",
		"10.1.0.0/24,::/112,::/120": "may only hold up to 2 values",
	} {
		if err := s.addRange(t, "wrong", strings.Split(cidrs, ",")...); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %s", cidrs, err, want)
		}
	}
	if err := s.addRange(t, "good", "203.0.113.0/24"); err != nil {
		t.Fatal(err)
	}
	s.awaitRange(t, "good", metav1.ConditionTrue, "")
	if got := s.refused(t, "", "patch", "servicecidr", "good", "--type=merge", "-p", `{"spec":{"cidrs":["203.0.112.0/24"]}}`); !strings.Contains(got, "field is immutable") {
		t.Error(got)
	}
	s.must(t, "", "patch", "servicecidr", "good", "--subresource=status", "--type=merge", "-p", `{"status":{"conditions":[]},"metadata":{"labels":{"a":"b"}}}`)
	s.awaitRange(t, "good", metav1.ConditionTrue, "")
	s.must(t, "", "delete", "servicecidr", "good")
}
