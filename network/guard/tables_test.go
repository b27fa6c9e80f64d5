package guard

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/nfttest"
	"fairlead.dev/fairlead/network/policy"
	"fairlead.dev/fairlead/network/policy/policytest"
	"fairlead.dev/fairlead/network/policy/table"
)

func name(o metav1.Object) types.NamespacedName { return api.Name(o) }

// Real connections between pods of the node, of another and from outside come about exactly if the documentation says so, and so say
// the rows; policies at random, written whole and by differences; and nft lists what was written.
func TestConnections(t *testing.T) {
	l := newLab(t)
	seed := rand.Uint64()
	r := policytest.New(seed)
	passed, refused := 0, 0
	for round := range 25 {
		l.clear()
		for n := range 3 {
			l.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", n), Labels: r.Labels()}})
		}
		for n := range all {
			pod := r.Pod(n)
			pod.Spec.HostNetwork, pod.Status.Phase, pod.Spec.NodeName = false, corev1.PodRunning, "here"
			if n >= here {
				pod.Spec.NodeName = "there"
			}
			l.put(pod)
		}
		for n := range r.IntN(8) {
			l.put(r.Policy(n))
		}
		l.write()
		if round%5 == 0 {
			for _, f := range families() {
				nfttest.Compare(t, l.node, f.String(), table.Name, table.All(l.rows).Text(f))
			}
		}
		judge := l.rows.Judge()
		for from, host := range l.hosts {
			packets, results := l.volley(r, from, host)
			for i, p := range packets {
				want, rows := l.objects.Allow(p, "here"), judge.Passes(p)
				if got := results[i].Err == nil; got != want || rows != want {
					t.Fatalf("seed %d, round %d: %+v: %t (%v), the rows say %t, the documentation %t\n%s", seed, round, p, got, results[i].Err, rows, want, l.describe())
				}
				if want {
					passed++
				} else {
					refused++
				}
			}
		}
	}
	t.Logf("%d connections, %d refused", passed+refused, refused)
	if passed < 100 || refused < 100 {
		t.Errorf("seed %d: %d passed, %d refused", seed, passed, refused)
	}
}

// volley tries connections from a host to all others.
func (l *lab) volley(r policytest.Random, from int, host *netlab.Netns) (packets []policy.Packet, results []netlab.Result) {
	var shots []netlab.Shot
	for to := range l.hosts {
		for _, pair := range [][2]netip.Addr{{policytest.IPv4(from), policytest.IPv4(to)}, {policytest.IPv6(from), policytest.IPv6(to)}} {
			for port := uint16(79); to != from && port <= 83; port++ {
				p := policy.Packet{Source: pair[0], Dest: pair[1], Protocol: policytest.Pick(r, lb.TCP, lb.UDP), Port: port}
				packets = append(packets, p)
				shots = append(shots, netlab.Shot{UDP: p.Protocol == lb.UDP, Source: p.Source, To: netip.AddrPortFrom(p.Dest, p.Port),
					Silent: !l.objects.Allow(p, "here")}) // refusals come at a bounded rate
			}
		}
	}
	return packets, host.Volley(shots, 50*time.Millisecond, 5*time.Second)
}

func (l *lab) describe() string {
	var b strings.Builder
	for _, p := range l.objects.Pods {
		fmt.Fprintf(&b, "%s on %s: %v %v\n", name(p), p.Spec.NodeName, p.Labels, p.Status.PodIPs)
	}
	for _, p := range l.objects.Policies {
		fmt.Fprintf(&b, "%s: %s\n", name(p), p.Spec.String())
	}
	return b.String()
}
