package secrets

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	config.QPS = -1
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// node is whom a node calls the API as.
func node() pki.Request {
	return pki.Request{CommonName: "system:node:n1", Organizations: []string{"system:nodes"}, Client: true}
}

// overTLS is a node's configuration in a process of its own.
func overTLS(t *testing.T, cfg apiserver.Config) *rest.Config {
	t.Helper()
	cert, key, err := cfg.CA.Issue(node())
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
}

// inProcess is that of the node in the API server's process.
func inProcess(t *testing.T, cfg apiserver.Config, server *apiserver.Server) *rest.Config {
	t.Helper()
	source, err := cfg.CA.Source(node())
	if err != nil {
		t.Fatal(err)
	}
	return server.InProcess(server.ClientConfig(), source)
}

// serve makes a class of ours and an Ingress of it that names Secrets of the namespace default.
func serve(t *testing.T, admin kubernetes.Interface, names ...string) {
	t.Helper()
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "ours"}, Spec: networkingv1.IngressClassSpec{Controller: api.IngressController}}
	if _, err := admin.NetworkingV1().IngressClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: networkingv1.IngressSpec{IngressClassName: &class.Name, Rules: []networkingv1.IngressRule{{Host: "a.example.com"}}}}
	for _, name := range names {
		ing.Spec.TLS = append(ing.Spec.TLS, networkingv1.IngressTLS{SecretName: name})
	}
	if _, err := admin.NetworkingV1().Ingresses("default").Create(t.Context(), ing, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// write makes a Secret say something, whether there is one or not.
func write(t *testing.T, admin kubernetes.Interface, name, text string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"large": "and not read"}}, Data: map[string][]byte{"k": []byte(text)}}
	_, err := admin.CoreV1().Secrets("default").Update(t.Context(), secret, metav1.UpdateOptions{})
	if err != nil {
		_, err = admin.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func named(names ...string) []types.NamespacedName {
	all := make([]types.NamespacedName, len(names))
	for i, name := range names {
		all[i] = types.NamespacedName{Namespace: "default", Name: name}
	}
	return all
}

// says is what is known of a Secret: its text, "none", or "unknown".
func says(s *Secrets, name string) string {
	switch secret, known := s.Get(named(name)[0]); {
	case !known:
		return "unknown"
	case secret == nil:
		return "none"
	default:
		return string(secret.Data["k"])
	}
}

// become waits, told by Changed and by nothing else, until Secrets are known to say something, given as NAME=TEXT.
func become(t *testing.T, s *Secrets, want ...string) {
	t.Helper()
	for {
		differs := ""
		for _, w := range want {
			if name, text, _ := strings.Cut(w, "="); says(s, name) != text {
				differs = fmt.Sprintf("%s says %s, want %s", name, says(s, name), text)
			}
		}
		if differs == "" {
			return
		}
		select {
		case <-s.Changed():
		case <-t.Context().Done():
			t.Fatal(differs)
		}
	}
}

func run(t *testing.T, c kubernetes.Interface) *Secrets {
	t.Helper()
	s := New(c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); ended.Wait() })
	return s
}

// requests counts what is asked, and how many lists are under way at most.
type requests struct {
	http.RoundTripper
	mu              sync.Mutex
	paths           map[string]int
	listing, atMost int
}

// RoundTrip is part of http.RoundTripper.
func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	q := request.URL.Query()
	what := "list"
	if q.Get("watch") != "" {
		what = "watch"
	}
	r.mu.Lock()
	r.paths[what+" "+request.URL.Path+"?"+q.Get("fieldSelector")]++
	if what == "list" {
		r.listing++
		r.atMost = max(r.atMost, r.listing)
	}
	r.mu.Unlock()
	response, err := r.RoundTripper.RoundTrip(request)
	if what == "list" {
		r.mu.Lock()
		r.listing--
		r.mu.Unlock()
	}
	return response, err
}

// TestFollowsWhatIsNamed: as a node, over TLS and within the API server's process, each Secret by requests for it alone.
func TestFollowsWhatIsNamed(t *testing.T) {
	for _, way := range []string{"over TLS", "in process"} {
		t.Run(way, func(t *testing.T) {
			cfg := apitest.Config(t, t.TempDir())
			server, _ := apitest.Run(t, cfg)
			admin, config := client(t, server.ClientConfig()), overTLS(t, cfg)
			if way == "in process" {
				config = inProcess(t, cfg, server)
			}
			asked := &requests{paths: map[string]int{}}
			config.Wrap(func(rt http.RoundTripper) http.RoundTripper { asked.RoundTripper = rt; return asked })
			s := run(t, client(t, config))
			serve(t, admin, "a", "b", "c")
			write(t, admin, "a", "1")
			write(t, admin, "c", "not asked for")
			s.Want(named("a", "b"))
			become(t, s, "a=1", "b=none", "c=unknown")
			if got, _ := s.Get(named("a")[0]); len(got.Annotations) > 0 || len(got.ManagedFields) > 0 {
				t.Errorf("kept for nothing: %v", got.ObjectMeta)
			}
			write(t, admin, "a", "2")
			become(t, s, "a=2")
			write(t, admin, "b", "made")
			become(t, s, "b=made")
			if err := admin.CoreV1().Secrets("default").Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			become(t, s, "a=none")
			s.Want(named("b", "c"))
			if says(s, "a") != "unknown" {
				t.Error("a is kept although nobody wants it")
			}
			become(t, s, "b=made", "c=not asked for")
			write(t, admin, "a", "3")
			s.Want(named("a", "b"))
			become(t, s, "a=3", "b=made", "c=unknown")
			asked.mu.Lock()
			defer asked.mu.Unlock()
			for path := range asked.paths {
				if !strings.HasPrefix(path[strings.Index(path, " ")+1:], "/api/v1/namespaces/default/secrets?metadata.name=") {
					t.Errorf("asked: %s", path)
				}
			}
		})
	}
}

// TestFollowsConfigMaps: as a node, a ConfigMap that an Ingress names, from when it does until it does not; no other, and of another
// namespace none.
func TestFollowsConfigMaps(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, node := client(t, server.ClientConfig()), client(t, overTLS(t, cfg))
	serve(t, admin, "a")
	write(t, admin, "headers", "of a Secret")
	put := func(name, text string) {
		t.Helper()
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"X-A": text}}
		_, err := admin.CoreV1().ConfigMaps("default").Update(t.Context(), m, metav1.UpdateOptions{})
		if err != nil {
			_, err = admin.CoreV1().ConfigMaps("default").Create(t.Context(), m, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("headers", "1")
	put("other", "1")
	read := func(resource, name string) string {
		err := node.CoreV1().RESTClient().Get().Namespace("default").Resource(resource).Name(name).Do(t.Context()).Error()
		switch {
		case err == nil:
			return "yes"
		case apierrors.IsForbidden(err):
			return "no"
		}
		return err.Error()
	}
	name := func(annotation string) {
		t.Helper()
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/custom-headers":%q}}}`, annotation)
		if _, err := admin.NetworkingV1().Ingresses("default").Patch(t.Context(), "a", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := read("configmaps", "headers"); got != "no" {
		t.Errorf("named by nobody: %s", got)
	}
	name("default/headers")
	for what, want := range map[[2]string]string{{"configmaps", "headers"}: "yes", {"configmaps", "other"}: "no", {"secrets", "headers"}: "no", {"configmaps", "a"}: "no"} {
		if got := read(what[0], what[1]); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	m := NewConfigMaps(node, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); ended.Wait() })
	m.Want(named("headers"))
	for _, want := range []string{"1", "2"} {
		put("headers", want)
		for found, _ := m.Get(named("headers")[0]); found == nil || found.Data["X-A"] != want; found, _ = m.Get(named("headers")[0]) {
			select {
			case <-m.Changed():
			case <-t.Context().Done():
				t.Fatalf("the ConfigMap is %v, want %s", found, want)
			}
		}
	}
	name("elsewhere/headers")
	if got := read("configmaps", "headers"); got != "no" {
		t.Errorf("of another namespace: %s", got)
	}
}

// TestWantedAgain: whoever changes their mind faster than it is followed is not left without.
func TestWantedAgain(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := client(t, server.ClientConfig())
	write(t, admin, "a", "1")
	s := run(t, client(t, server.ClientConfig()))
	for range 200 {
		s.Want(named("a"))
		s.Want(nil)
		s.Want(named("a"))
		become(t, s, "a=1")
	}
}

// TestKeepsWhatItKnows: the API server goes and comes back, with a Secret changed and one made meanwhile.
func TestKeepsWhatItKnows(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	admin := client(t, server.ClientConfig())
	serve(t, admin, "a", "b")
	write(t, admin, "a", "1")
	s := run(t, client(t, overTLS(t, cfg)))
	s.Want(named("a", "b"))
	become(t, s, "a=1", "b=none")
	stop()
	s.Want(named("a", "b", "c"))
	if says(s, "a") != "1" || says(s, "b") != "none" || says(s, "c") != "unknown" {
		t.Errorf("without an API server a is %s, b %s, c %s", says(s, "a"), says(s, "b"), says(s, "c"))
	}
	server, _ = apitest.Run(t, cfg)
	admin = client(t, server.ClientConfig())
	write(t, admin, "a", "2")
	write(t, admin, "b", "made")
	become(t, s, "a=2", "b=made")
	if says(s, "c") != "unknown" {
		t.Errorf("c, which the node may not read, is %s", says(s, "c"))
	}
}

// TestAThousand: all are known, a few at a time are read, and the change of one is told.
func TestAThousand(t *testing.T) {
	const many = 1000
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := client(t, server.ClientConfig())
	names, want := make([]string, many), make([]string, many)
	for i := range names {
		names[i] = fmt.Sprintf("s%d", i)
		want[i] = names[i] + "=" + names[i]
		write(t, admin, names[i], names[i])
	}
	serve(t, admin, names...)
	config := overTLS(t, cfg)
	asked := &requests{paths: map[string]int{}}
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { asked.RoundTripper = rt; return asked })
	s := run(t, client(t, config))
	before := memory()
	s.Want(named(names...))
	become(t, s, want...)
	t.Logf("%d secrets: %d kB each, the API server's part included", many, (memory()-before)/many/1024)
	write(t, admin, "s500", "changed")
	become(t, s, "s500=changed", "s499=s499")
	asked.mu.Lock()
	defer asked.mu.Unlock()
	if asked.atMost > atOnce {
		t.Errorf("%d lists at a time, at most %d are allowed", asked.atMost, atOnce)
	}
	for path, n := range asked.paths {
		if strings.HasPrefix(path, "list") && n != 1 {
			t.Errorf("%s: asked %d times", path, n)
		}
	}
}

// memory is what is used, in bytes, stacks included.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
