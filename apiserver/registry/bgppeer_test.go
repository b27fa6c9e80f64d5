package registry_test

import (
	"strings"
	"testing"

	"fairlead.dev/fairlead/internal/apitest"
)

const bgpPeer = `{apiVersion: fairlead.dev/v1, kind: BGPPeer, metadata: {name: tor}, spec: {peerAddress: 192.0.2.1, peerASN: 64512, localASN: 64513,
  passwordSecret: {name: tor}, nodeSelector: {matchLabels: {rack: a}}, pools: [{name: lan, communities: ['64513:100', '64513:1:2']}]}}`

func TestBGPPeers(t *testing.T) {
	running, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	s := connect(t, running.ClientConfig())
	const rest = ", peerASN: 64512, localASN: 64513}"
	for spec, want := range map[string]string{
		"{}":                                "spec.peerAddress: Required value",
		"{peerAddress: 192.0.2.1}":          "spec.peerASN: Required value",
		"{peerAddress: router1" + rest:      `spec.peerAddress: Invalid value: "router1": must be a valid IP address`,
		"{peerAddress: 'fe80::1'" + rest:    "may not be unspecified, loopback, multicast or link-local",
		"{peerAddress: 127.0.0.1" + rest:    "may not be unspecified, loopback, multicast or link-local",
		"{peerAddress: 192.0.2.1/24" + rest: "must be a valid IP address",
		"{peerAddress: 192.0.2.1, peerASN: 4294967296, localASN: 1}":                                "spec.peerASN: Invalid value: 4294967296: must be between 1 and 4294967295, inclusive",
		"{peerAddress: 192.0.2.1, peerASN: 1, localASN: -1}":                                        "spec.localASN: Invalid value: -1",
		"{peerAddress: 192.0.2.1, peerPort: 65536" + rest:                                           "spec.peerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
		"{peerAddress: 192.0.2.1, routerID: '2001:db8::1'" + rest:                                   "spec.routerID: Invalid value",
		"{peerAddress: 192.0.2.1, passwordSecret: {}" + rest:                                        "spec.passwordSecret.name: Invalid value",
		"{peerAddress: 192.0.2.1, passwordSecret: {name: a, namespace: default}" + rest:             `spec.passwordSecret.namespace: Unsupported value: "default": supported values: "kube-system"`,
		"{peerAddress: 192.0.2.1, holdTimeSeconds: 2" + rest:                                        "spec.holdTimeSeconds: Invalid value: 2: must be between 3 and 65535, inclusive",
		"{peerAddress: 192.0.2.1, multihop: 0" + rest:                                               "spec.multihop: Invalid value: 0: must be between 1 and 255, inclusive",
		"{peerAddress: 192.0.2.1, multihop: 2, peerASN: 1, localASN: 1}":                            "must be 1 with a router of the same AS",
		"{peerAddress: 192.0.2.1, gracefulRestartSeconds: 4096" + rest:                              "must be between 0 and 4095, inclusive",
		"{peerAddress: 192.0.2.1, nodeSelector: {matchLabels: {'a b': c}}" + rest:                   "spec.nodeSelector.matchLabels",
		"{peerAddress: 192.0.2.1, pools: [{name: A}]" + rest:                                        "spec.pools[0].name: Invalid value",
		"{peerAddress: 192.0.2.1, pools: [{name: a}, {name: a}]" + rest:                             "spec.pools[1].name: Duplicate value",
		"{peerAddress: 192.0.2.1, pools: [{name: a, communities: ['65536:1']}]" + rest:              `spec.pools[0].communities[0]: Invalid value: "65536:1": must be two numbers up to 65535`,
		"{peerAddress: 192.0.2.1, pools: [{name: a, localPreference: 5}]" + rest:                    "spec.pools[0].localPreference: Forbidden: a router of another AS is not told",
		"{peerAddress: 192.0.2.1, pools: [{name: a, localPreference: 0}], peerASN: 1, localASN: 1}": "spec.pools[0].localPreference: Invalid value: 0",
		"{peerAddress: 192.0.2.1, bfd: true" + rest:                                                 `unknown field "spec.bfd"`,
	} {
		manifest := "{apiVersion: fairlead.dev/v1, kind: BGPPeer, metadata: {name: wrong}, spec: " + spec + "}"
		if got := s.refused(t, manifest, "create", "-f", "-"); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
	s.must(t, bgpPeer, "apply", "-f", "-")
	s.must(t, bgpPeer, "apply", "-f", "-", "--server-side", "--force-conflicts")
	columns(t, s.must(t, "", "get", "bgppeers"), "NAME ADDRESS ASN LOCAL SESSIONS ESTABLISHED AGE", "tor 192.0.2.1 64512 64513 0/0 <unknown> *")
	if got := s.must(t, "", "get", "bgppeer", "tor", "-o", "jsonpath={.spec.peerPort} {.spec.holdTimeSeconds} {.spec.multihop} {.spec.gracefulRestartSeconds} {.spec.passwordSecret.namespace}"); got != "179 90 1 120 kube-system" {
		t.Error(got)
	}
	if got := s.must(t, "", "explain", "bgppeers.spec.gracefulRestartSeconds"); !strings.Contains(got, "turns graceful restart off") {
		t.Error(got)
	}
	s.must(t, "", "patch", "bgppeer", "tor", "--type=merge", "-p", `{"spec":{"peerPort":1179},"status":{"wanted":3}}`)
	s.must(t, "", "patch", "bgppeer", "tor", "--subresource=status", "--type=merge", "-p", `{"status":{"established":2,"wanted":2,"nodes":[{"name":"n1","established":true}]},"spec":{"peerPort":1}}`)
	if got := s.must(t, "", "get", "bgppeer", "tor", "-o", "jsonpath={.spec.peerPort} {.status.wanted} {.status.established} {.metadata.generation}"); got != "1179 2 2 2" {
		t.Error(got)
	}
	s.must(t, "", "delete", "bgppeer", "tor")
}
