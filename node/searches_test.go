package node

import (
	"net/netip"
	"strings"
	"testing"
)

// An address that went from one pod to another is the other's, also when the first one is forgotten after that.
func TestSearchesOfReusedAddress(t *testing.T) {
	a := &Agent{searches: searches{byAddr: map[netip.Addr]searchList{}}}
	at := func(ip string) string { return strings.Join(a.Searches(netip.MustParseAddr(ip)), " ") }
	a.searches.set("u1", []string{"10.244.0.2", "fd00::2"}, []string{"one.svc.cluster.local"})
	if at("10.244.0.2") != "one.svc.cluster.local" || at("fd00::2") != "one.svc.cluster.local" || at("10.244.0.3") != "" {
		t.Errorf("%v", a.searches.byAddr)
	}
	a.searches.set("u2", []string{"10.244.0.2"}, []string{"two.svc.cluster.local"})
	a.searches.set("u1", nil, nil)
	if at("10.244.0.2") != "two.svc.cluster.local" || at("fd00::2") != "" {
		t.Errorf("%v", a.searches.byAddr)
	}
	a.searches.set("u2", []string{"10.244.0.9"}, []string{"two.svc.cluster.local"})
	if at("10.244.0.2") != "" || at("10.244.0.9") == "" {
		t.Errorf("%v", a.searches.byAddr)
	}
}
