package policy

import (
	"fmt"
	"go/ast"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rooms are the directories of the program with what of the rest each may reach, itself or by way of others. Test files may
// reach further. An import in the other direction would be a second way for the same data.
var rooms = []struct {
	room     string
	mayReach []string
	why      string
}{
	{"api", nil, "what objects say depends on nothing but the objects"},
	{"alloc", nil, "addresses and ports are bitmaps"},
	{"network/lb", []string{"api"}, "the model of a Service knows neither how a node learns of Services nor how kernels forward"},
	{"network/policy", []string{"api", "network/lb", "network/nft/rule", "network/nft/wire"}, "who may talk to whom is known without a kernel"},
	{"network/nft/rule", []string{"api", "network/lb", "network/nft/wire"}, "rules are data"},
	{"network/nft/plan", []string{"api", "network/lb", "network/nft/rule", "network/nft/wire"}, "what a table is to be is known without a kernel"},
	{"network/nft/wire", nil, "messages are bytes"},
	{"network/l7/route", nil, "what becomes of a request follows from its rules"},
	{"network/l7/service", []string{"api", "network/l7/route"}, "what is served follows from the Services"},
	{"network/l7/ingress", []string{"api", "network/l7/route"}, "what is served follows from the objects"},
	{"network/l7/gateway", []string{"api", "network/l7/route"}, "what is served and what is said of it follow from the objects"},
	{"network/announce/bgp/plan", []string{"api", "alloc", "network/lb"}, "what a node tells routers follows from the objects"},
	{"network/dns/zone", []string{"api"}, "what a name means follows from the Services, and an answer from the question"},
	{"why", []string{"api", "network/lb"}, "findings follow from objects, and from what a Service may claim"},
	{"kube", []string{"api"}, "what controllers are made of decides nothing"},
	{"pki", []string{"api", "internal"}, "certificates are for all, and ask nobody"},
	{"host", []string{"internal"}, "the host is undone without the program that changed it"},
	{"network", []string{"api", "alloc", "host", "internal"}, "the network of a node works with any API server, and without the node's own agent"},
	// controller/why judges claims by network/lb; controller/external calls the agents, as pki/peer does it.
	// controller/gateway and controller/ingress decide by what the engines of nodes decide by.
	{"controller", []string{"api", "alloc", "kube", "why", "network/lb", "network/l7/gateway", "network/l7/ingress", "network/l7/route", "network/world/gateways", "pki", "internal"}, "controllers talk to the API, and to no part of a node"},
	{"node", []string{"api", "kube", "pki", "internal"}, "a node runs pods; what it serves for others comes in as handlers by path"},
	{"apiserver", []string{"api", "alloc", "pki", "internal"}, "the API is served to whoever comes, and knows no client of its own"},
	{"cluster", []string{"api", "alloc", "apiserver", "controller", "host", "internal", "kube", "network", "node", "pki", "why"}, "the one place where all parts are put together"},
	{"cmd", []string{"api", "alloc", "apiserver", "cluster", "controller", "host", "internal", "kube", "network", "node", "pki", "why"}, "flags in, text out"},
	{"internal/durable", nil, "files on a disk"}, {"internal/heap", nil, "memory"}, {"internal/pages", nil, "memory"},
	{"internal/keeper", []string{"internal/pages"}, "the keeper costs less than 5 MB because it imports nothing that costs"},
}

// purePackages only compute, and can do nothing else: they are tested without a cluster, a kernel or a clock. What they reach of
// this repository is pure as well.
var purePackages = []string{
	"api", "api/announce", "api/claim", "api/ingressrefs", "api/kinds", "api/podrefs", "api/probe", "alloc", "why", "network/lb", "network/dns/zone",
	"controller/endpoints/plan", "controller/external/healthcheck", "controller/garbage/content", "controller/garbage/ownership", "controller/ingress/plan", "controller/loadbalancer/plan", "controller/nodes/lifecycle", "controller/scheduler/placement", "controller/why/reported", "controller/workload/plan",
	"node/imagegc", "node/life", "node/spec",
	"network/announce/plan", "network/announce/wire",
	"network/l7/route", "network/l7/gateway", "network/l7/ingress", "network/l7/service", "network/nft/plan", "network/nft/rule", "network/nft/wire", "network/policy", "network/route/plan", "network/announce/bgp/plan", "controller/bgp/report",
	"network/l7/htpasswd", "network/l7/http1", "network/l7/http2", "network/l7/proxyproto",
}

// clients are the rooms of which only some packages may be clients of the API by themselves.
var clients = []struct {
	room string
	by   []string
	why  string
}{
	// network/health tells the author of a Service by an Event that its port for health checks is taken.
	{"network", []string{"network/world", "network/health"}, "what a node knows of the cluster it learns in one place"},
	{"host", nil, "the host is undone without the API"},
	{"pki", nil, "a certificate is made before there is an API"},
	{"cmd", nil, "what talks to the API is in package cluster"},
}

// graph is who imports whom in what is built, down to the standard library.
type graph map[string][]string

// program is asked for once: go list takes seconds.
var program = sync.OnceValues(func() (graph, error) {
	root, err := top()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	g := graph{}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 0 {
			g[words[0]] = words[1:]
		}
	}
	return g, nil
})

// built is the program's graph.
func built(t *testing.T) graph {
	t.Helper()
	g, err := program()
	if err != nil {
		t.Fatal(err)
	}
	if len(g["k8s.io/api/core/v1"]) == 0 || len(g[module+"/cluster"]) == 0 {
		t.Fatalf("go list tells of %d packages, and not of those that are surely there", len(g))
	}
	return g
}

// path is the shortest way from a package to one that is wanted, both included; nil when there is none.
func (g graph) path(from string, wanted func(pkg string) bool) []string {
	by, queue := map[string]string{from: ""}, []string{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at != from && wanted(at) {
			var way []string
			for ; at != ""; at = by[at] {
				way = append(way, strings.TrimPrefix(at, module+"/"))
			}
			slices.Reverse(way)
			return way
		}
		for _, next := range g[at] {
			if _, seen := by[next]; !seen {
				by[next], queue = at, append(queue, next)
			}
		}
	}
	return nil
}

// TestPath: a violation is told with the imports that lead to it, the fewest.
func TestPath(t *testing.T) {
	g := graph{"a": {"b", "c"}, "b": {"b2"}, "b2": {"x"}, "c": {"x", "a"}, "x": {"far"}}
	for wanted, want := range map[string]string{"x": "a c x", "far": "a c x far", "b2": "a b b2", "a": "", "nowhere": ""} {
		if got := strings.Join(g.path("a", func(pkg string) bool { return pkg == wanted }), " "); got != want {
			t.Errorf("to %s: %q, want %q", wanted, got, want)
		}
	}
}

// ours is a package by its directory, if it is one of this repository's.
func ours(pkg string) (dir string, ok bool) { return strings.CutPrefix(pkg, module+"/") }

// roomOf is the index in rooms of the room that a directory is in: the innermost.
func roomOf(dir string) int {
	found := -1
	for i, r := range rooms {
		if within(dir, r.room) && (found < 0 || len(r.room) > len(rooms[found].room)) {
			found = i
		}
	}
	return found
}

// TestWalls: no room reaches one that it may not.
func TestWalls(t *testing.T) {
	g := built(t)
	for pkg := range g {
		dir, mine := ours(pkg)
		if !mine || within(dir, "test") {
			continue
		}
		i := roomOf(dir)
		if i < 0 {
			if !within(dir, "internal") { // of tests
				t.Errorf("%s is in no room: give it one in ARCHITECTURE.md and here", dir)
			}
			continue
		}
		r := rooms[i]
		way := g.path(pkg, func(to string) bool {
			other, mine := ours(to)
			return mine && !within(other, r.room) && !within(other, r.mayReach...)
		})
		if way != nil {
			t.Errorf("%s: %s may reach %v only: %s", strings.Join(way, " -> "), r.room, r.mayReach, r.why)
		}
	}
}

// TestRoomsAreDocumented: ARCHITECTURE.md says of each room what the walls say.
func TestRoomsAreDocumented(t *testing.T) {
	root, files := repository(t)
	document := text(t, root, "ARCHITECTURE.md")
	for _, r := range rooms {
		reach := "nothing"
		if len(r.mayReach) > 0 {
			reach = "`" + strings.Join(r.mayReach, "`, `") + "`"
		}
		if r.room == "cmd" || r.room == "cluster" {
			reach = "all below"
		}
		row := regexp.MustCompile("(?m)^\\| `" + r.room + "` \\|.*\\| " + reach + " \\|$")
		if !within(r.room, "internal") && !row.MatchString(document) {
			t.Errorf("ARCHITECTURE.md has no row of the room %s that ends with %q", r.room, reach)
		}
	}
	for _, f := range files {
		top, _, below := strings.Cut(f.Path, "/")
		if below && f.AST != nil && !strings.Contains(document, "\n| `"+top+"` |") {
			t.Errorf("%s: ARCHITECTURE.md does not say what lives in %s", f.Path, top)
		}
	}
}

// TestClients: the API's client is where it belongs, and the rest is told.
func TestClients(t *testing.T) {
	for pkg, imports := range built(t) {
		dir, mine := ours(pkg)
		for _, c := range clients {
			if !mine || !within(dir, c.room) || within(dir, c.by...) {
				continue
			}
			for _, to := range imports {
				if within(to, "k8s.io/client-go") {
					t.Errorf("%s -> %s: in %s only %v may: %s", dir, to, c.room, c.by, c.why)
				}
			}
		}
	}
}

// TestPurePackages: a package that only computes reaches no client of the API, no network, no files and no clock.
func TestPurePackages(t *testing.T) {
	g := built(t)
	for _, dir := range purePackages {
		pkg := module + "/" + dir
		if g[pkg] == nil {
			t.Errorf("%s is no package any more: name the one that took its place", dir)
			continue
		}
		way := g.path(pkg, func(to string) bool {
			other, mine := ours(to)
			return mine && !slices.Contains(purePackages, other) || within(to, "k8s.io/client-go", "k8s.io/apiserver")
		})
		if way != nil {
			t.Errorf("%s: %s only computes, so what it reaches must as well", strings.Join(way, " -> "), dir)
		}
	}
	for _, f := range goFiles(t) {
		if !f.Test() && slices.Contains(purePackages, f.Package()) {
			onlyComputes(t, f)
		}
	}
}

// TestNetfilter: one package writes the kernel's rules, whatever the library. Package wire numbers its messages and sends none.
// Package host looks at them, and takes ours away when
// the program is gone; the benchmark reads counters.
func TestNetfilter(t *testing.T) {
	may, found := []string{"network/nft", "network/nft/netfilter", "network/nft/wire", "host", "test/bench"}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.Test() {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if n.Name == "NETLINK_NETFILTER" || strings.HasPrefix(n.Name, "NFNL_SUBSYS_") {
					found[f.Package()] = true
					if !slices.Contains(may, f.Package()) {
						t.Errorf("%s: %s: allowed in %v only, one package writes the kernel's rules", f.At(n), n.Name, may)
					}
				}
			case *ast.CallExpr:
				if opensNetlink(f, n) {
					t.Errorf("%s: which netlink it opens is not said by one of the constants NETLINK_*", f.At(n))
				}
			}
			return true
		})
	}
	if !found["network/nft"] {
		t.Error("nobody writes the kernel's rules: the constant is known by another name")
	}
}

// opensNetlink reports whether a call opens a netlink socket of a family that it does not name.
func opensNetlink(f File, call *ast.CallExpr) bool {
	family := -1
	switch f.source(call.Fun) {
	case "unix.Socket", "syscall.Socket":
		if len(call.Args) == 3 && strings.HasSuffix(f.source(call.Args[0]), "AF_NETLINK") {
			family = 2
		}
	case "netlink.Dial", "netlink.NewHandle", "nl.Subscribe":
		family = 0
	}
	return family >= 0 && len(call.Args) > family && !strings.Contains(f.source(call.Args[family]), "NETLINK_")
}
