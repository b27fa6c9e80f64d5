package plan

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/network/lb"
)

var update = flag.Bool("update", false, "rewrite the tables and traces in testdata")

// TestText reads a Service and its endpoints from each testdata/*.txtar and compares the
// table that they give, and what becomes of the packets in it, with the text there.
func TestText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var table *Table
			for i := range archive.Files {
				f := &archive.Files[i]
				got := string(f.Data)
				switch f.Name {
				case "objects.yaml":
					table = tableFor(t, got)
				case "table":
					got = table.String()
				case "packets":
					got = traces(t, table, got)
				default:
					t.Fatalf("unknown section %q", f.Name)
				}
				if *update {
					f.Data = []byte(got)
				} else if got != string(f.Data) {
					t.Errorf("%s is\n%s\nwant\n%s", f.Name, got, f.Data)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// tableFor is the table of node n1 with the Services and slices of a file, of IPv6 if it says so.
func tableFor(t *testing.T, objects string) *Table {
	v6 := strings.Contains(objects, "addressType: IPv6")
	i := invent(1, v6)
	i.layout.Outbound = true
	i.desired.SetNodes(map[netip.Addr]struct{}{i.node.Addrs[0]: {}})
	var services []*corev1.Service
	var all []*discoveryv1.EndpointSlice
	for _, text := range strings.Split(objects, "---\n") {
		var s corev1.Service
		var sl discoveryv1.EndpointSlice
		into := any(&s)
		if strings.Contains(text, "kind: EndpointSlice") {
			into = &sl
			all = append(all, &sl)
		} else {
			services = append(services, &s)
		}
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range services {
		of := slices.DeleteFunc(slices.Clone(all), func(sl *discoveryv1.EndpointSlice) bool {
			return sl.Labels[discoveryv1.LabelServiceName] != s.Name
		})
		if _, _, err := i.desired.Update(lb.Derive(s, of, i.node)); err != nil {
			t.Fatal(err)
		}
	}
	return NewTable(i.layout, i.desired)
}

// traces follows the packets that a section names, "> pod 10.244.1.2 tcp 10.96.0.1:80", each through a
// node that remembers nothing, and writes what becomes of them below.
func traces(t *testing.T, table *Table, section string) string {
	origins := map[string]lb.Origin{"pod": lb.FromPod, "node": lb.FromNode, "outside": lb.FromOutside}
	protocols := map[string]lb.Protocol{"tcp": lb.TCP, "udp": lb.UDP}
	var b strings.Builder
	for line := range strings.Lines(section) {
		words := strings.Fields(line)
		if len(words) != 5 || words[0] != ">" {
			continue
		}
		p := Packet{Packet: lb.Packet{Origin: origins[words[1]], Source: netip.MustParseAddr(words[2]), Proto: protocols[words[3]], Dest: at(words[4])}, SourcePort: 40000}
		b.WriteString(line)
		b.WriteString(NewTracer(table, []netip.Addr{nodeIP, six(nodeIP), lb.EngineIPv4.Addr(), lb.EngineIPv6.Addr()}, nil).Trace(p).String())
	}
	if b.Len() == 0 {
		t.Fatal("no packets")
	}
	return b.String()
}
