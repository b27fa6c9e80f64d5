package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"fairlead.dev/fairlead/host/netns"
)

// mostShaped bounds the rulesets of kube-proxy's shape: the kernel's time to load one grows with its square.
const mostShaped = 10000

// kubeProxyShape is a network namespace with a ruleset of the shape that kube-proxy writes in its nftables mode: a chain and
// an anonymous map for each Service, reached by one map of verdicts, and the checks of every new connection. Clients in it
// reach the cluster's pods through a link.
type kubeProxyShape struct{ dir, netns string }

func newKubeProxyShape(services []shaped) (k kubeProxyShape, err error) {
	if k.dir, err = os.MkdirTemp("", "fairlead-bench-"); err != nil {
		return k, err
	}
	k.netns = filepath.Join(k.dir, "netns")
	rules := filepath.Join(k.dir, "rules.nft")
	err = errors.Join(netns.Create(k.netns), os.WriteFile(rules, []byte(kubeProxyRules(services)), 0o600))
	if err == nil {
		err = k.connect()
	}
	if err == nil {
		err = k.do(func() error { return nftLoad(rules) })
	}
	if err != nil {
		k.remove()
	}
	return k, err
}

// do runs f inside the namespace. What f does in other goroutines happens outside.
func (k kubeProxyShape) do(f func() error) error { return netns.Do(k.netns, f) }

func (k kubeProxyShape) remove() {
	netns.Remove(k.netns)
	os.RemoveAll(k.dir)
}

// connect gives the namespace a link to the bench's and a route over it.
func (k kubeProxyShape) connect() error {
	return linkTo(k.netns, "bench1", netip.MustParsePrefix("10.78.0.1/24"), netip.MustParsePrefix("10.78.0.2/24"))
}

// nftLoad reads a file into the ruleset of the calling thread's namespace, as kube-proxy does.
func nftLoad(file string) error {
	if out, err := exec.Command("nft", "-f", file).CombinedOutput(); err != nil {
		return fmt.Errorf("nft -f: %w: %.500s", err, out)
	}
	return nil
}

// shaped is a Service in kube-proxy's shape.
type shaped struct {
	number   int
	addr     netip.Addr
	backends []netip.AddrPort
}

// shapedService is Service number i with some endpoints that do not exist.
func shapedService(i int, endpoints []netip.Addr) shaped {
	s := shaped{number: i, addr: serviceAddr(i)}
	for _, a := range endpoints {
		s.backends = append(s.backends, netip.AddrPortFrom(a, 8080))
	}
	return s
}

func (s shaped) chain() string {
	return fmt.Sprintf("service-ULMVA%05d-ns/svc%d/tcp/p80", s.number, s.number)
}

// rule is the one rule of the Service's chain.
func (s shaped) rule() string {
	choices := make([]string, len(s.backends))
	for i, b := range s.backends {
		choices[i] = fmt.Sprintf("%d : %s . %d", i, b.Addr(), b.Port())
	}
	return fmt.Sprintf("add rule ip kube-proxy %s meta l4proto tcp dnat ip addr . port to numgen random mod %d map { %s }\n",
		s.chain(), len(choices), strings.Join(choices, ", "))
}

// kubeProxyRules is the ruleset for nft -f.
func kubeProxyRules(services []shaped) string {
	var b strings.Builder
	b.WriteString(`table ip kube-proxy {
	map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
	map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
	set cluster-ips { type ipv4_addr; }
	chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
	chain check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
	chain cluster-ips-check { ip daddr @cluster-ips reject; }
	chain masquerading { mark and 0x4000 == 0 return; mark set mark xor 0x4000; masquerade fully-random; }
	chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
	chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
	chain filter-output { type filter hook output priority 0; ct state new jump check; ct state new jump cluster-ips-check; }
	chain filter-forward { type filter hook forward priority 0; ct state new jump check; ct state new jump cluster-ips-check; }
}
`)
	for _, s := range services {
		fmt.Fprintf(&b, "add chain ip kube-proxy %[1]s\n%[2]sadd element ip kube-proxy service-ips { %[3]s . tcp . 80 : goto %[1]s }\nadd element ip kube-proxy cluster-ips { %[3]s }\n",
			s.chain(), s.rule(), s.addr)
	}
	return b.String()
}
