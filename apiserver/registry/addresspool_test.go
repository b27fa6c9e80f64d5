package registry_test

import (
	"net/netip"
	"strings"
	"testing"

	"fairlead.dev/fairlead/internal/apitest"
)

const pool = "{apiVersion: fairlead.dev/v1, kind: AddressPool, metadata: {name: lan}, spec: {addresses: [192.0.2.0/28, '2001:db8::10-2001:db8::1f']}}"

func TestAddressPools(t *testing.T) {
	config := apitest.Config(t, t.TempDir())
	config.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	running, _ := apitest.Run(t, config)
	s := connect(t, running.ClientConfig())
	for spec, want := range map[string]string{
		"{}":                                             "spec.addresses: Required value",
		"{addresses: []}":                                "spec.addresses: Required value: at least one network or range",
		"{addresses: [nonsense]}":                        `spec.addresses[0]: Invalid value: "nonsense": must be a network such as`,
		"{addresses: [127.0.0.8/30]}":                    "must not contain loopback addresses",
		"{addresses: [10.96.3.0/24]}":                    "must not overlap 10.96.0.0/12, the cluster addresses of Services",
		"{addresses: [10.244.3.0/24]}":                   "must not overlap 10.244.0.0/16, the addresses of pods",
		"{addresses: [192.0.2.0/28, 192.0.2.9]}":         `spec.addresses[1]: Invalid value: "192.0.2.9": must not overlap another of the pool's ranges`,
		"{addresses: [192.0.2.9], announce: [L3]}":       `spec.announce[0]: Unsupported value: "L3": supported values: "BGP", "L2", "None"`,
		"{addresses: [192.0.2.9], announce: [L2, L2]}":   "spec.announce[1]: Duplicate value",
		"{addresses: [192.0.2.9], announce: [L2, None]}": "may not name another way beside None",
		"{addresses: [192.0.2.9], serviceSelector: {matchLabels: {'a b': c}}}": "spec.serviceSelector.matchLabels",
		"{addresses: [192.0.2.9], addrs: []}":                                  `unknown field "spec.addrs"`,
		"{addresses: 192.0.2.9}":                                               "addresses",
	} {
		manifest := "{apiVersion: fairlead.dev/v1, kind: AddressPool, metadata: {name: wrong}, spec: " + spec + "}"
		if got := s.refused(t, manifest, "create", "-f", "-"); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
	s.must(t, pool, "apply", "-f", "-")
	s.must(t, pool, "apply", "-f", "-", "--server-side", "--force-conflicts")
	columns(t, s.must(t, "", "get", "pool"), "NAME ADDRESSES AUTO ANNOUNCE ASSIGNED FREE USABLE AGE",
		"lan 192.0.2.0/28,2001:db8::10-2001:db8::1f true L2,BGP 0 0 <unknown> *")
	if got := s.must(t, "", "explain", "addresspools.spec.announce"); !strings.Contains(got, "None alone for nobody") {
		t.Error(got)
	}
	s.must(t, "", "patch", "pool", "lan", "--type=merge", "-p", `{"spec":{"announce":["None"]},"status":{"free":3}}`)
	s.must(t, "", "patch", "pool", "lan", "--subresource=status", "--type=merge", "-p", `{"status":{"assigned":2},"spec":{"priority":3}}`)
	if got := s.must(t, "", "get", "pool", "lan", "-o", "jsonpath={.spec.announce} {.status.assigned} {.status.free} {.spec.priority} {.metadata.generation}"); got != `["None"] 2 0  2` {
		t.Error(got)
	}
	s.must(t, "", "delete", "pool", "lan")
}
