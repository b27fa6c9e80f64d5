package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/network/world"
)

// TestSpec asks a real server, over UDP and over TCP, with another implementation of DNS as the client.
// Each file of testdata/spec is one rule of the specification: objects.yaml is the cluster, dialogue
// the questions ("> name type") and what is answered, in zone syntax and any order.
func TestSpec(t *testing.T) {
	files, err := filepath.Glob("testdata/spec/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no specification files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
			}
			w := world.New()
			for _, obj := range objects(t, parts["objects.yaml"]) {
				w.Put(obj)
			}
			w.MarkSynced()
			s := serve(t, Config{}, w)
			for _, network := range []string{"udp", "tcp"} {
				talk(t, s, network, parts["dialogue"])
			}
		})
	}
}

// talk plays a dialogue with the server.
func talk(t *testing.T, s *Server, network, dialogue string) {
	t.Helper()
	turns := strings.Split("\n"+strings.TrimSpace(dialogue), "\n> ")[1:]
	if len(turns) == 0 {
		t.Fatal("the dialogue has no question")
	}
	for _, turn := range turns {
		lines := strings.Split(strings.TrimSpace(turn), "\n")
		var name, typ string
		if _, err := fmt.Sscan(lines[0], &name, &typ); err != nil {
			t.Fatalf("question %q: %v", lines[0], err)
		}
		m := ask(t, s, network, name, typ)
		got, want := transcript(m), normal(lines[1:])
		if !slices.Equal(got, want) {
			t.Errorf("%s %s over %s\n got:\n  %s\nwant:\n  %s", name, typ, network, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

// transcript is a response in the form of a dialogue: the code, then the records, sorted within their
// section. The serial number of a SOA is left out.
func transcript(m *miekg.Msg) []string {
	head := miekg.RcodeToString[m.Rcode]
	if m.Authoritative {
		head += " aa"
	}
	lines := []string{head}
	for i, section := range [][]miekg.RR{m.Answer, m.Ns, m.Extra} {
		var part []string
		for _, rr := range section {
			if soa, ok := rr.(*miekg.SOA); ok {
				soa.Serial = 0
			}
			if rr.Header().Rrtype != miekg.TypeOPT {
				part = append(part, []string{"", "authority ", "additional "}[i]+strings.Join(strings.Fields(rr.String()), " "))
			}
		}
		slices.Sort(part)
		lines = append(lines, part...)
	}
	return lines
}

// normal brings the lines of a dialogue into the form and order of transcript.
func normal(lines []string) []string {
	var out, answer, authority, additional []string
	for i, l := range lines {
		l = strings.Join(strings.Fields(l), " ")
		switch {
		case i == 0:
			out = append(out, l)
		case strings.HasPrefix(l, "authority "):
			authority = append(authority, l)
		case strings.HasPrefix(l, "additional "):
			additional = append(additional, l)
		default:
			answer = append(answer, l)
		}
	}
	for _, part := range [][]string{answer, authority, additional} {
		slices.Sort(part)
		out = append(out, part...)
	}
	return out
}

// serve starts a server for w on an address of its own on loopback.
func serve(t testing.TB, cfg Config, w *world.World) *Server {
	t.Helper()
	cfg.Addrs, cfg.Domain = []netip.AddrPort{freeAddr(t)}, "cluster.local"
	s := New(cfg, w, slog.New(slog.NewTextHandler(t.Output(), nil)))
	run(t, s)
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the server did not become ready")
	}
	return s
}

// run runs s until the test ends.
func run(t testing.TB, s *Server) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
}

// freeAddr returns an address of loopback whose port is free for UDP and TCP.
func freeAddr(t testing.TB) netip.AddrPort {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		l.Close()
		if err == nil {
			c.Close()
			return addr
		}
	}
	t.Fatal("no free port on loopback")
	return netip.AddrPort{}
}

// ask sends one question with EDNS and returns the response.
func ask(t testing.TB, s *Server, network, name, typ string) *miekg.Msg {
	t.Helper()
	q := new(miekg.Msg).SetQuestion(name, miekg.StringToType[typ])
	q.SetEdns0(4096, false)
	return exchange(t, s, network, q)
}

func exchange(t testing.TB, s *Server, network string, q *miekg.Msg) *miekg.Msg {
	t.Helper()
	c := miekg.Client{Net: network, Timeout: 10 * time.Second}
	m, _, err := c.Exchange(q, s.cfg.Addrs[0].String())
	if err != nil {
		t.Fatalf("%s over %s: %v", q.Question[0].String(), network, err)
	}
	return m
}

// objects reads a stream of YAML documents.
func objects(t testing.TB, text string) []runtime.Object {
	t.Helper()
	var list []runtime.Object
	for _, doc := range strings.Split(text, "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatalf("objects.yaml: %v", err)
		}
		var obj runtime.Object
		switch kind.Kind {
		case "Namespace":
			obj = &corev1.Namespace{}
		case "Service":
			obj = &corev1.Service{}
		case "EndpointSlice":
			obj = &discoveryv1.EndpointSlice{}
		default:
			t.Fatalf("objects.yaml: kind %q", kind.Kind)
		}
		if err := utilyaml.UnmarshalStrict([]byte(doc), obj); err != nil {
			t.Fatalf("objects.yaml: %v\n%s", err, doc)
		}
		list = append(list, obj)
	}
	return list
}
