package nft

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/world"
)

// TestKernelListsThePlan writes random Services, whole and by differences, and
// compares what the nft command lists with the text of what is desired; nft also
// reads that text.
func TestKernelListsThePlan(t *testing.T) {
	ns := netlab.New(t, "listed")
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 6 {
		cfg := testConfig
		if round%2 == 0 { // what not every node has
			cfg.ClusterDNS, cfg.Host, cfg.MasqueradeAll = nil, two(outsideIP), round == 0
			cfg.APIServers = []netip.AddrPort{netip.AddrPortFrom(outsideIP, 6443)}
			cfg.Engine = []netip.AddrPort{lb.EngineIPv4, lb.EngineIPv6}
			cfg.ClusterCIDRs = []netip.Prefix{prefix("10.240.0.0/12"), prefix("fd00:10:244::/47")}
		}
		w := world.New()
		w.Put(newNode("n1", prefix("10.244.1.0/24"), nodeIP))
		w.MarkSynced()
		l := stepped(t, ns, cfg, w)
		subscription := w.Subscribe()
		for step := range 5 {
			populate(rnd, w)
			if err := l.step(subscription.Take()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, table := range l.tables {
				compareListing(t, ns, plan.NewTable(table.applied.layout, table.desired))
			}
			if t.Failed() {
				t.Fatalf("seed %d, round %d, step %d", seed, round, step)
			}
		}
		subscription.Close()
		l.socket.close() // and with it the tables' owner goes
		ns.Do(func() { _ = Clean() })
	}
}

// populate replaces some of the Services of both families.
func populate(rnd *rand.Rand, w *world.World) {
	v4 := lbtest.Universe{Services: prefix("10.96.0.0/16"), Nodes: []string{"n1", "n2"}, Zones: []string{"a", ""}, Ports: []int32{8080, 65535},
		Here: []netip.Addr{podA, podB}, Away: []netip.Addr{podFar, podFar2}, Abroad: []netip.Addr{outsideIP}, External: []netip.Addr{outerIP, netip.MustParseAddr("203.0.113.1")},
		Sources: []netip.Prefix{prefix("10.0.0.0/8"), prefix("10.244.1.0/24"), prefix("198.51.100.7/32")}}
	v6 := v4
	v6.Services = sixPrefix(v4.Services)
	for _, list := range []*[]netip.Addr{&v6.Here, &v6.Away, &v6.Abroad, &v6.External} {
		*list = slices.Clone(*list)
		for i, a := range *list {
			(*list)[i] = six(a)
		}
	}
	v6.Sources = []netip.Prefix{prefix("fd00::/16"), prefix("2001:db8::1/128")}
	for range 12 {
		n, u := rnd.IntN(30), v4
		if n%2 == 1 {
			u = v6
		}
		s := u.Service(rnd, n)
		if how := rnd.IntN(4); how > 1 {
			s.Annotations = map[string]string{"fairlead.dev/balance": []string{"round-robin", "client-hash"}[how-2]}
		}
		if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
			withAffinity(s, int32(1+rnd.IntN(200000)))
		}
		w.Put(s)
		for _, old := range slicesOf(w, s) {
			w.Delete(old)
		}
		for _, sl := range u.Slices(rnd, n) {
			w.Put(sl)
		}
	}
}

func slicesOf(w *world.World, s *corev1.Service) []*discoveryv1.EndpointSlice {
	_, all := w.Service(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
	return all
}

// compareListing holds a table's text against what nft lists, and has nft read it.
func compareListing(t *testing.T, ns *netlab.Netns, table *plan.Table) {
	t.Helper()
	out, err := ns.Command("nft", "list", "table", table.Family.String(), plan.TableName)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, want := normal(out), normal(table.String())
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("nft lists  %s\nthe plan is %s", got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("nft lists %d lines, the plan has %d", len(got), len(want))
	}
	file := filepath.Join(t.TempDir(), "plan.nft")
	if err := os.WriteFile(file, []byte(table.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := ns.Command("unshare", "--net", "nft", "-c", "-f", file); err != nil {
		t.Errorf("nft does not read the plan: %v: %.1000s", err, out)
	}
}

var (
	unlisted = regexp.MustCompile(`(?m)^\s*(size \d+|flags owner.*|counter)$|\s*counter packets \d+ bytes \d+|\s*expires \S+| # progname \S+`)
	listed   = regexp.MustCompile(`(?s)elements = \{ (.*?) \}\n`)
	oneEach  = regexp.MustCompile(`(?:[^",]|"[^"]*")+`)
)

// normal is a listing without what the plan cannot know, an element a line, in blocks by name.
func normal(listing string) []string {
	listing = unlisted.ReplaceAllString(listing, "")
	listing = listed.ReplaceAllStringFunc(listing, func(all string) string {
		var each []string
		for _, e := range oneEach.FindAllString(listed.FindStringSubmatch(all)[1], -1) {
			each = append(each, strings.Join(strings.Fields(e), " "))
		}
		slices.Sort(each)
		return strings.Join(each, "\n") + "\n"
	})
	var blocks []string
	for _, b := range regexp.MustCompile(`(?s)\t(map|set|chain) .*?\n\t\}`).FindAllString(listing, -1) {
		var lines []string
		for line := range strings.Lines(b) {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				lines = append(lines, line)
			}
		}
		blocks = append(blocks, strings.Join(lines, "\n"))
	}
	slices.Sort(blocks)
	return strings.Split(strings.Join(blocks, "\n"), "\n")
}
