package nft

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/plan"
)

func withAffinity(s *corev1.Service, seconds int32) *corev1.Service {
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(seconds)}}
	return s
}

// sticks connects n times, expects one and the same server each time, and
// returns its name.
func (l *lab) sticks(from *netlab.Netns, network, to string, n int) string {
	l.t.Helper()
	name := ""
	for range n {
		answer, err := from.TCP(netip.Addr{}, l.at(to), patient)
		if network == "udp" {
			answer, err = from.UDP(netip.Addr{}, l.at(to), patient)
		}
		if err != nil {
			l.t.Fatalf("%s %s: %v", network, to, err)
		}
		if name != "" && answer.Name != name {
			l.t.Fatalf("%s %s went to %q, then to %q", network, to, name, answer.Name)
		}
		name = answer.Name
	}
	return name
}

func TestP70_AffinityIsPerServicePortOverAllAddresses(t *testing.T) {
	inBothFamilies(t, checkP70_AffinityIsPerServicePortOverAllAddresses)
}

func checkP70_AffinityIsPerServicePortOverAllAddresses(t *testing.T, l *lab) {
	l.start()
	s := nodePort(withAffinity(newService("web", "10.96.0.1"), 60), clusterPolicy)
	l.put(s, newSlice("web", podA, podB, podFar, podFar2))
	first := l.sticks(l.outsideNs, "tcp", "10.96.0.1:80", 30)
	if again := l.sticks(l.outsideNs, "tcp", "192.0.2.1:30080", 30); again != first {
		t.Errorf("by cluster address to %q, by node port to %q", first, again)
	}
	l.sticks(l.outsideNs, "udp", "10.96.0.1:80", 10)
}

func TestP71_AffinityEndsWithTheTimeout(t *testing.T) {
	inBothFamilies(t, checkP71_AffinityEndsWithTheTimeout)
}

func checkP71_AffinityEndsWithTheTimeout(t *testing.T, l *lab) {
	l.start()
	l.put(withAffinity(newService("web", "10.96.0.1"), 2), newSlice("web", podB, podFar, podFar2))
	first := l.sticks(l.a, "tcp", "10.96.0.1:80", 3)
	// Each attempt waits for the entry to go, then has two chances in three.
	l.until("another endpoint after the timeout", func() bool {
		gone := time.Now().Add(10 * time.Second)
		for out := l.ip(podA).String(); strings.Contains(out, l.ip(podA).String()); {
			out, _ = l.node.Command("nft", "list", "map", plan.NewFamily(l.six).String(), plan.TableName, plan.AffinityMap)
			if time.Now().After(gone) {
				t.Fatalf("the entry outlives its timeout:\n%s", out)
			}
		}
		return l.sticks(l.a, "tcp", "10.96.0.1:80", 1) != first
	})
}

func TestP72_AffinityLetsGoOfADeadEndpoint(t *testing.T) {
	inBothFamilies(t, checkP72_AffinityLetsGoOfADeadEndpoint)
}

func checkP72_AffinityLetsGoOfADeadEndpoint(t *testing.T, l *lab) {
	l.start()
	addrs := map[string]netip.Addr{"b": podB, "far": podFar, "far2": podFar2}
	l.put(withAffinity(newService("web", "10.96.0.1"), 600), newSlice("web", podB, podFar, podFar2))
	first := l.sticks(l.a, "tcp", "10.96.0.1:80", 10)
	var left []netip.Addr
	for name, a := range addrs {
		if name != first {
			left = append(left, a)
		}
	}
	l.put(newSlice("web", left...))
	second := l.sticks(l.a, "tcp", "10.96.0.1:80", 20)
	if second == first {
		t.Fatalf("still on %q, which is gone", first)
	}
	// The endpoint returns; the client stays where it is now.
	l.put(newSlice("web", podB, podFar, podFar2))
	if third := l.sticks(l.a, "tcp", "10.96.0.1:80", 30); third != second {
		t.Errorf("went back from %q to %q", second, third)
	}
	// A change of other endpoints moves nobody.
	l.put(newSlice("web", addrs[second]))
	l.put(newSlice("web", podFar2, podFar, podB))
	if fourth := l.sticks(l.a, "tcp", "10.96.0.1:80", 30); fourth != second {
		t.Errorf("moved from %q to %q though its endpoint never went", second, fourth)
	}
}

// What a client sticks to outlives the Proxy, and tables that had to grow.
func TestP70_AffinityOutlivesRestartAndRewrite(t *testing.T) {
	inBothFamilies(t, checkP70_AffinityOutlivesRestartAndRewrite)
}

func checkP70_AffinityOutlivesRestartAndRewrite(t *testing.T, l *lab) {
	l.start()
	l.put(newService("first", "10.96.0.9"), newSlice("first", podB)) // so that ids do not repeat by chance
	l.put(withAffinity(newService("web", "10.96.0.1"), 600), newSlice("web", podA, podB, podFar, podFar2))
	before := l.sticks(l.b, "tcp", "10.96.0.1:80", 5)
	l.stop()
	l.world.Delete(newService("first", ""))
	for i := range 20 { // the next process derives in another order
		l.set(withAffinity(newService(fmt.Sprint("s", i), fmt.Sprintf("10.96.1.%d", i)), 600))
		l.set(newSlice(fmt.Sprint("s", i), podA, podFar))
	}
	l.start()
	if after := l.sticks(l.b, "tcp", "10.96.0.1:80", 20); after != before {
		t.Errorf("on %q before the restart, on %q after", before, after)
	}
	rewrites := l.proxy.Stats().Rewrites
	for i := range 3000 {
		l.set(newService(fmt.Sprint("t", i), fmt.Sprintf("10.100.%d.%d", i/250, i%250+1)))
	}
	l.settle()
	if l.proxy.Stats().Rewrites == rewrites {
		t.Error("6000 frontends more did not make the map grow")
	}
	if after := l.sticks(l.b, "tcp", "10.96.0.1:80", 20); after != before {
		t.Errorf("on %q before the rewrite, on %q after", before, after)
	}
	if l.proxy.Stats().Failures != 0 {
		t.Errorf("%+v", l.proxy.Stats())
	}
}

func TestP20_InTurnInsteadOfAtRandom(t *testing.T) {
	inBothFamilies(t, checkP20_InTurnInsteadOfAtRandom)
}

func checkP20_InTurnInsteadOfAtRandom(t *testing.T, l *lab) {
	l.start()
	s := newService("web", "10.96.0.1")
	s.Annotations = map[string]string{api.AnnotationBalance: api.BalanceInTurn}
	other := s.DeepCopy()
	other.Name, other.Spec.ClusterIP, other.Spec.ClusterIPs = "other", "10.96.0.2", []string{"10.96.0.2"}
	l.put(s, newSlice("web", podB, podFar, podFar2), other, newSlice("other", podB, podFar, podFar2))
	var order []string
	for range 12 {
		a, err := l.a.TCP(netip.Addr{}, l.at("10.96.0.1:80"), patient)
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, a.Name)
		l.sticks(l.a, "tcp", "10.96.0.2:80", 1) // another Service does not disturb the turn
	}
	for i, name := range order {
		if i >= 3 && name != order[i-3] || i > 0 && name == order[i-1] {
			t.Fatalf("not in turn: %v", order)
		}
	}
	s = s.DeepCopy()
	s.Annotations = nil
	l.put(s)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far", "far2")
}

func TestP74_AffinityOnAndOff(t *testing.T) { inBothFamilies(t, checkP74_AffinityOnAndOff) }

func checkP74_AffinityOnAndOff(t *testing.T, l *lab) {
	l.start()
	plain := newService("web", "10.96.0.1")
	l.put(plain, newSlice("web", podB, podFar))
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far")
	l.put(withAffinity(plain.DeepCopy(), 600))
	l.sticks(l.a, "tcp", "10.96.0.1:80", 30)
	l.put(plain)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far")
}
