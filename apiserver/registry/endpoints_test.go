//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that people use.

package registry_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func endpointsManifest(subsets string) string {
	return "{apiVersion: v1, kind: Endpoints, metadata: {name: x}, subsets: " + subsets + "}"
}

func sliceManifest(fields string) string {
	return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x}, " + fields + "}"
}

func TestE39_EndpointsValidation(t *testing.T) {
	refusals{
		{"nothing", endpointsManifest("[]"), ""},
		{"no address", endpointsManifest("[{ports: [{port: 80}]}]"), "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"},
		{"unnamed ports", endpointsManifest("[{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}, {port: 81}]}]"), "subsets[0].ports[0].name: Required value"},
		{"one unnamed port", endpointsManifest("[{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]"), ""},
		{"no ip", endpointsManifest("[{addresses: [{ip: ten}]}]"), `subsets[0].addresses[0].ip: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
		{"loopback", endpointsManifest("[{addresses: [{ip: 127.0.0.1}]}]"), `subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`},
		{"link-local", endpointsManifest("[{notReadyAddresses: [{ip: 169.254.169.254}]}]"), `subsets[0].notReadyAddresses[0].ip: Invalid value: "169.254.169.254": may not be in the link-local range (169.254.0.0/16, fe80::/10)`},
		{"multicast", endpointsManifest("[{addresses: [{ip: 224.0.0.1}]}]"), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
		{"loopback, IPv6", endpointsManifest("[{addresses: [{ip: '::1'}]}]"), "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{"loopback in IPv6", endpointsManifest("[{addresses: [{ip: '::ffff:127.0.0.1'}]}]"), `subsets[0].addresses[0].ip: Invalid value: "::ffff:127.0.0.1"`},
		{"link-local, IPv6", endpointsManifest("[{addresses: [{ip: 'fe80::1'}]}]"), "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{"leading zeros", endpointsManifest("[{addresses: [{ip: 010.0.0.1}]}]"), `subsets[0].addresses[0].ip: Invalid value: "010.0.0.1": must not have leading 0s`},
		{"with a port", endpointsManifest("[{addresses: [{ip: '10.0.0.1:80'}]}]"), `subsets[0].addresses[0].ip: Invalid value: "10.0.0.1:80": must be a valid IP address`},
		{"a range", endpointsManifest("[{addresses: [{ip: 10.0.0.0/8}]}]"), `subsets[0].addresses[0].ip: Invalid value: "10.0.0.0/8": must be a valid IP address`},
		{"the second of two", endpointsManifest("[{addresses: [{ip: 10.0.0.1}]}, {addresses: [{ip: 10.0.0.1}, {ip: 127.9.9.9}]}]"), "subsets[1].addresses[1].ip: Invalid value"},
		{"ready and not ready", endpointsManifest("[{addresses: [{ip: 10.0.0.1}], notReadyAddresses: [{ip: 10.0.0.1}]}]"), ""},
		{"name of a port", endpointsManifest("[{addresses: [{ip: 10.0.0.1}], ports: [{name: A_B, port: 80}]}]"), `subsets[0].ports[0].name: Invalid value: "A_B"`},
		{"a node that cannot be", endpointsManifest("[{addresses: [{ip: 10.0.0.1, nodeName: 'a b'}]}]"), `subsets[0].addresses[0].nodeName: Invalid value: "a b"`},
		{"unspecified", endpointsManifest("[{addresses: [{ip: 0.0.0.0}]}]"), "may not be unspecified ("},
		{"hostname", endpointsManifest("[{addresses: [{ip: 10.0.0.1, hostname: a.b}]}]"), `subsets[0].addresses[0].hostname: Invalid value: "a.b": must not contain dots`},
		{"node of another world", endpointsManifest("[{addresses: [{ip: 10.0.0.1, nodeName: etc-master1}]}]"), ""},
		{"port", endpointsManifest("[{addresses: [{ip: 10.0.0.1}], ports: [{port: 0}]}]"), "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"protocol", endpointsManifest("[{addresses: [{ip: 10.0.0.1}], ports: [{port: 80, protocol: HTTP}]}]"), `subsets[0].ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"`},
		{"every field", endpointsManifest("[{addresses: [{ip: 10.0.0.1, hostname: a, nodeName: n1, targetRef: {kind: Pod, name: p}}], notReadyAddresses: [{ip: 10.0.0.2}], ports: [{name: h, port: 80, protocol: TCP, appProtocol: http}]}]"), ""},
	}.run(t, start(t))
}

func TestE80_AddressType(t *testing.T) {
	refusals{
		{"missing", sliceManifest("endpoints: []"), "addressType: Required value"},
		{"unknown", sliceManifest("addressType: MAC, endpoints: []"), `addressType: Unsupported value: "MAC": supported values: "FQDN", "IPv4", "IPv6"`},
		{"FQDN", sliceManifest("addressType: FQDN, endpoints: [{addresses: [a.example.com]}]"), ""},
		{"no FQDN", sliceManifest("addressType: FQDN, endpoints: [{addresses: [a]}]"), `endpoints[0].addresses[0]: Invalid value: "a": should be a domain with at least two segments separated by dots`},
	}.run(t, start(t))
}

// list is n times the same item.
func list(n int, item string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(item+", ", n), ", ") + "]"
}

// numbered is a list of n items, each with its number in it.
func numbered(n int, item string) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(item, i))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func TestE81_SizeOfASlice(t *testing.T) {
	one := "{addresses: [10.0.0.1]}"
	hinted := func(hints string) string {
		return sliceManifest("addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hints: {" + hints + "}}]")
	}
	refusals{
		{"1000 endpoints", sliceManifest("addressType: IPv4, endpoints: " + list(1000, one)), ""},
		{"1001 endpoints", sliceManifest("addressType: IPv4, endpoints: " + list(1001, one)), "endpoints: Too many: 1001: must have at most 1000 items"},
		{"100 ports", sliceManifest("addressType: IPv4, endpoints: [], ports: " + numbered(100, "{name: p%d, port: 1}")), ""},
		{"no address", sliceManifest("addressType: IPv4, endpoints: [{addresses: []}]"), "endpoints[0].addresses: Required value: must contain at least 1 address"},
		{"100 addresses", sliceManifest("addressType: IPv4, endpoints: [{addresses: " + numbered(100, "10.0.0.%d") + "}]"), ""},
		{"101 addresses", sliceManifest("addressType: IPv4, endpoints: [{addresses: " + numbered(101, "10.0.0.%d") + "}]"), "endpoints[0].addresses: Too many: 101: must have at most 100 items"},
		{"8 zones and nodes", hinted("forZones: " + numbered(8, "{name: z%d}") + ", forNodes: " + numbered(8, "{name: n%d}")), ""},
		{"9 zones", hinted("forZones: " + numbered(9, "{name: z%d}")), "endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"},
		{"9 nodes", hinted("forNodes: " + numbered(9, "{name: n%d}")), "endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"},
		{"a zone twice", hinted("forZones: [{name: a}, {name: a}]"), `endpoints[0].hints.forZones[1].name: Duplicate value: "a"`},
		{"a wrong zone", hinted("forZones: [{name: 'a b'}]"), `endpoints[0].hints.forZones[0].name: Invalid value: "a b"`},
		{"a wrong node", hinted("forNodes: [{name: 'A'}]"), `endpoints[0].hints.forNodes[0].name: Invalid value: "A"`},
	}.run(t, start(t))
}

func TestE82_PortsOfASlice(t *testing.T) {
	ports := func(list string) string {
		return sliceManifest("addressType: IPv4, endpoints: [], ports: " + list)
	}
	refusals{
		{"names", ports("[{name: a, port: 1}, {name: a, port: 2}]"), `ports[1].name: Duplicate value: "a"`},
		{"no names", ports("[{port: 1}, {port: 2}]"), `ports[1].name: Duplicate value: ""`},
		{"one without a name", ports("[{port: 1}, {name: a, port: 2}]"), ""},
		{"a name", ports("[{name: A, port: 1}]"), `ports[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of`},
		{"number", ports("[{name: a, port: 70000}]"), "ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"},
		{"zero", ports("[{name: a, port: 0}]"), "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"all ports", ports("[{name: a}]"), ""},
		{"protocol", ports("[{name: a, port: 1, protocol: HTTP}]"), `ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"`},
		{"protocols", ports("[{name: a, port: 1, protocol: UDP}, {name: b, port: 1, protocol: SCTP}]"), ""},
		{"application protocol", ports("[{name: a, port: 1, appProtocol: 'a b'}]"), `ports[0].appProtocol: Invalid value: "a b"`},
	}.run(t, start(t))
}

func TestE83_EndpointsOfASlice(t *testing.T) {
	endpoint := func(family, fields string) string {
		return sliceManifest("addressType: " + family + ", endpoints: [{" + fields + "}]")
	}
	refusals{
		{"IPv6 among IPv4", endpoint("IPv4", "addresses: ['fd00::1']"), `endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address`},
		{"IPv4 among IPv6", endpoint("IPv6", "addresses: [10.0.0.1]"), `endpoints[0].addresses: Invalid value: "10.0.0.1": must be an IPv6 address`},
		{"no address", endpoint("IPv4", "addresses: [ten]"), `endpoints[0].addresses[0]: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
		{"leading zeros", endpoint("IPv4", "addresses: [010.0.0.1]"), `endpoints[0].addresses[0]: Invalid value: "010.0.0.1": must not have leading 0s`},
		{"loopback", endpoint("IPv4", "addresses: [127.0.0.1]"), "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{"loopback, IPv6", endpoint("IPv6", "addresses: ['::1']"), "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{"link-local", endpoint("IPv4", "addresses: [169.254.169.254]"), "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{"link-local, IPv6", endpoint("IPv6", "addresses: ['fe80::1']"), "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{"multicast", endpoint("IPv4", "addresses: [224.0.0.5]"), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
		{"unspecified", endpoint("IPv6", "addresses: ['::']"), "may not be unspecified ("},
		{"the second address", endpoint("IPv4", "addresses: [10.0.0.1, 127.0.0.1]"), `endpoints[0].addresses[1]: Invalid value: "127.0.0.1"`},
		{"hostname", endpoint("IPv4", "addresses: [10.0.0.1], hostname: A"), `endpoints[0].hostname: Invalid value: "A"`},
		{"zone", endpoint("IPv4", "addresses: [10.0.0.1], zone: 'a b'"), `endpoints[0].zone: Invalid value: "a b"`},
		{"node", endpoint("IPv4", "addresses: [10.0.0.1], nodeName: 'a b'"), `endpoints[0].nodeName: Invalid value: "a b"`},
		{"every field", endpoint("IPv4", "addresses: [10.0.0.1], hostname: a, zone: b, nodeName: c.d, conditions: {ready: true, serving: true, terminating: false}, targetRef: {kind: Pod, name: p}"), ""},
	}.run(t, start(t))
}

// The field of the first versions of the API is not stored any more.
func TestE86_DeprecatedTopologyIsDropped(t *testing.T) {
	s := start(t)
	s.must(t, sliceManifest("addressType: IPv4, endpoints: [{addresses: [10.0.0.1], deprecatedTopology: {topology.kubernetes.io/zone: a, kubernetes.io/hostname: n1}}]"), "create", "-f", "-")
	look := func() discoveryv1.Endpoint {
		slice, err := s.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "x", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return slice.Endpoints[0]
	}
	if ep := look(); len(ep.DeprecatedTopology) > 0 || ep.Zone != nil || ep.NodeName != nil {
		t.Errorf("created with %+v", ep)
	}
	s.must(t, "", "patch", "endpointslice", "x", "--type=merge", "-p", `{"endpoints":[{"addresses":["10.0.0.2"],"zone":"b","deprecatedTopology":{"a":"b"}}]}`)
	if ep := look(); len(ep.DeprecatedTopology) > 0 || ep.Zone == nil || *ep.Zone != "b" {
		t.Errorf("changed to %+v", ep)
	}
}

// Whatever is asked about Endpoints, the answer says that there is something newer; about slices it says nothing.
func TestE38_EveryRequestForEndpointsWarns(t *testing.T) {
	s := start(t)
	const want = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n"
	for _, args := range [][]string{
		{"create", "-f", "-"}, {"get", "endpoints", "x"}, {"get", "endpoints"}, {"get", "--raw", "/api/v1/namespaces/default/endpoints/x"},
		{"replace", "-f", "-"}, {"annotate", "endpoints", "x", "a=b"}, {"delete", "endpoints", "x"},
		{"delete", "--raw", "/api/v1/namespaces/default/endpoints"},
	} {
		input := ""
		if args[len(args)-1] == "-" {
			input = endpointsManifest("[{addresses: [{ip: 10.0.0.1}]}]")
		}
		if _, stderr, err := s.kubectl(t, input, args...); err != nil || !strings.HasPrefix(stderr, want) {
			t.Errorf("kubectl %s: %q, %v", strings.Join(args, " "), stderr, err)
		}
	}
	if _, stderr, err := s.kubectl(t, "", "get", "endpointslices"); err != nil || stderr != "" {
		t.Errorf("slices: %q, %v", stderr, err)
	}
}

// 5 000 addresses are many, and accepted: nothing of what a person writes is lost.
func TestE39_FiveThousandAddresses(t *testing.T) {
	s := start(t)
	ends := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Subsets: []corev1.EndpointSubset{{}}}
	for i := range 5000 {
		ends.Subsets[0].Addresses = append(ends.Subsets[0].Addresses, corev1.EndpointAddress{IP: fmt.Sprintf("10.1.%d.%d", i/250, i%250)})
	}
	ends.Subsets[0].NotReadyAddresses = ends.Subsets[0].Addresses[:1] // the same in both lists is accepted, too
	if _, err := s.CoreV1().Endpoints("default").Create(t.Context(), ends, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := s.CoreV1().Endpoints("default").Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil || len(got.Subsets[0].Addresses) != 5000 || len(got.Subsets[0].NotReadyAddresses) != 1 {
		t.Errorf("%d addresses, %v", len(got.Subsets[0].Addresses), err)
	}
}

func TestE80_AddressTypeStays(t *testing.T) {
	s := start(t)
	s.must(t, sliceManifest("addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4]}]"), "create", "-f", "-")
	stderr := s.refused(t, "", "patch", "endpointslice", "x", "--type=merge", "-p", `{"addressType":"FQDN"}`)
	if !strings.Contains(stderr, "addressType: Invalid value: \"FQDN\": field is immutable") {
		t.Error(stderr)
	}
	slice, err := s.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if slice.Ports[0].Name == nil || *slice.Ports[0].Name != "" || slice.Ports[0].Protocol == nil || *slice.Ports[0].Protocol != corev1.ProtocolTCP {
		t.Errorf("S13: %+v", slice.Ports)
	}
	if slice.Generation != 1 {
		t.Errorf("generation %d", slice.Generation)
	}
	slice.Endpoints = slice.Endpoints[:3]
	if slice, err = s.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice, metav1.UpdateOptions{}); err != nil || slice.Generation != 2 {
		t.Errorf("after a change: generation %d, %v", slice.Generation, err)
	}
	columns(t, s.must(t, "", "get", "endpointslices", "x"), "NAME ADDRESSTYPE PORTS ENDPOINTS AGE", "x IPv4 80 10.0.0.1,10.0.0.2,10.0.0.3 *")
}

func TestS160_EndpointsColumns(t *testing.T) {
	s := start(t)
	s.must(t, endpointsManifest("[{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], ports: [{name: a, port: 80}, {name: b, port: 81}]}]"), "create", "-f", "-")
	s.must(t, "{apiVersion: v1, kind: Endpoints, metadata: {name: empty}}", "create", "-f", "-")
	columns(t, s.must(t, "", "get", "ep", "x", "empty"), "NAME ENDPOINTS AGE",
		"x 10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more... *",
		"empty <none> *")
	s.must(t, sliceManifest("addressType: IPv4, endpoints: []"), "create", "-f", "-")
	columns(t, s.must(t, "", "get", "endpointslice", "x"), "NAME ADDRESSTYPE PORTS ENDPOINTS AGE", "x IPv4 <unset> <unset> *")
	for i := range 2 {
		s.must(t, fmt.Sprintf("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: y%d}, addressType: IPv4, ports: [{name: a, port: 1}, {name: b, port: 2}, {name: c, port: 3}, {name: d, port: 4}], endpoints: [{addresses: [10.0.0.1]}]}", i), "create", "-f", "-")
	}
	columns(t, s.must(t, "", "get", "endpointslice", "y0"), "NAME ADDRESSTYPE PORTS ENDPOINTS AGE", "y0 IPv4 1,2,3 + 1 more... 10.0.0.1 *")
}
