package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/node/registry"
)

// shelf is a registry that has one image under every name, and misbehaves as it is told.
type shelf struct {
	*httptest.Server
	image    image.Packed
	password atomic.Pointer[string] // nil: everybody may pull
	fault    atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	pulls    atomic.Int32 // manifests that were asked for by name
}

// newShelf serves an image of the program of the tests, which no other shelf has.
func newShelf(t *testing.T, tls bool) *shelf {
	t.Helper()
	var archive bytes.Buffer
	data := buildApp(t)
	err := image.Build(&archive, image.Spec{Refs: []string{"a.example/app:1"}, Env: []string{"OF=" + t.Name()}, Entrypoint: []string{"/app"},
		Rootfs: []image.File{{Path: "app", Mode: 0o755, Data: data}, {Path: "tmp", Mode: os.ModeDir | 0o777}}})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := image.Open(bytes.NewReader(archive.Bytes()), int64(archive.Len()), "")
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{image: opened.Images[0]}
	if tls {
		s.Server = httptest.NewTLSServer(s)
	} else {
		s.Server = httptest.NewServer(s)
	}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if password := s.password.Load(); password != nil {
		if _, given, _ := r.BasicAuth(); given != *password {
			w.Header().Set("WWW-Authenticate", `Basic realm="shelf"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
	}
	if fault := s.fault.Load(); fault != nil && (*fault)(w, r) {
		return
	}
	at := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	for i, b := range s.image.Blobs {
		last := i == len(s.image.Blobs)-1
		if named := strings.Contains(r.URL.Path, "/manifests/") && !strings.HasPrefix(at, "sha256:"); named && last || b.Digest == at {
			if named && r.Method == http.MethodHead {
				s.pulls.Add(1)
			}
			w.Header().Set("Content-Type", b.MediaType)
			w.Header().Set("Docker-Content-Digest", b.Digest)
			w.Header().Set("Content-Length", fmt.Sprint(b.Size))
			if r.Method == http.MethodGet {
				io.Copy(w, b.Open())
			}
			return
		}
	}
	http.NotFound(w, r)
}

// host is the shelf as names of images begin with it.
func (s *shelf) host() string { return s.Listener.Addr().String() }

// breaks has the shelf do something else to what fault takes for its own; nil ends that.
func (s *shelf) breaks(fault func(http.ResponseWriter, *http.Request) bool) {
	if fault == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&fault)
}

// authority is the file of who signed the shelf's certificate.
func (s *shelf) authority(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// reaching has the node of a bench reach registries as the function says, whatever that says at the time.
func (b *bench) reaching(say func() registry.Registries) {
	b.t.Helper()
	b.stop()
	b.cfg.Registries = func(context.Context) registry.Registries {
		now := say()
		if err := registry.Write(b.containerd.HostsDir(), now); err != nil {
			b.t.Error(err)
		}
		return now
	}
	b.startAgent()
}

// pulling is a pod whose image is of a registry.
func pulling(name, image string, policy corev1.PullPolicy, secrets ...string) *corev1.Pod {
	p := pod(name)
	p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = image, policy
	for _, s := range secrets {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return p
}

func waits(reason, text string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && w.Reason == reason && strings.Contains(w.Message, text) {
				return true
			}
		}
		return false
	}
}

// secret makes a secret for pulls of the newer or of the older kind.
func (b *bench) secret(name, host, password string, old bool) {
	b.t.Helper()
	entry := fmt.Sprintf(`{%q:{"auth":%q}}`, host, base64.StdEncoding.EncodeToString([]byte("u:"+password)))
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":` + entry + `}`)}}
	if old {
		s.Type, s.Data = corev1.SecretTypeDockercfg, map[string][]byte{corev1.DockerConfigKey: []byte(entry)}
	}
	if _, err := b.client.CoreV1().Secrets("default").Create(b.ctx, s, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// TestPullSecrets: an image of a private registry is had by those who show credentials, also when it is on the node already.
func TestPullSecrets(t *testing.T) {
	b, s := newBench(t), newShelf(t, true)
	password := "secret"
	s.password.Store(&password)
	authority := s.authority(t)
	b.reaching(func() registry.Registries {
		return registry.Registries{Hosts: map[string]registry.Host{s.host(): {CA: authority}}}
	})
	b.secret("right", s.host(), password, false)
	b.secret("old", s.host(), password, true)
	b.secret("wrong", s.host(), "guess", false)
	b.secret("other", "other.example", password, false)
	name := s.host() + "/team/app:1"

	b.create(pulling("nobody", name, corev1.PullIfNotPresent))
	b.await("nobody", "is not let in", waits("ErrImagePull", "an imagePullSecret of the pod"))
	b.awaitEvent("nobody", `Failed: Failed to pull image "`+name+`": `)
	b.awaitEvent("nobody", "an imagePullSecret of the pod, or registries.hosts")
	b.await("nobody", "backs off", waits("ImagePullBackOff", `Back-off pulling image "`+name+`": ErrImagePull: `))
	b.create(pulling("wrong", name, corev1.PullIfNotPresent, "wrong"))
	b.await("wrong", "is not let in", waits("ErrImagePull", "an imagePullSecret of the pod"))
	b.create(pulling("other", name, corev1.PullIfNotPresent, "other", "missing"))
	b.awaitEvent("other", "FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (missing); attempting to pull the image may not succeed.")
	b.await("other", "is not let in", waits("ErrImagePull", "an imagePullSecret of the pod"))

	b.create(pulling("right", name, corev1.PullIfNotPresent, "wrong", "right"))
	b.await("right", "runs", running)
	asked := s.pulls.Load()
	b.create(pulling("again", name, corev1.PullIfNotPresent, "right"))
	b.awaitEvent("again", "already present on machine and can be accessed by the pod")
	b.create(pulling("same", name, corev1.PullNever, "old")) // another secret with the same credentials
	b.await("same", "runs", running)
	if s.pulls.Load() != asked {
		t.Error("what proved itself before was asked for again")
	}
	b.create(pulling("thief", name, corev1.PullIfNotPresent))
	b.await("thief", "is not let in, though the image is there", waits("ErrImagePull", "an imagePullSecret of the pod"))
	b.create(pulling("never", name, corev1.PullNever))
	b.await("never", "is told that it is not there", waits("ErrImageNeverPull", "is not present with pull policy of Never"))
	b.create(pulling("oldkind", s.host()+"/team/second:1", corev1.PullIfNotPresent, "old"))
	b.await("oldkind", "runs", running)

	b.reaching(func() registry.Registries { // the node's own credentials are for all of its pods
		return registry.Registries{Hosts: map[string]registry.Host{s.host(): {CA: authority, Username: "u", Password: password}}}
	})
	b.create(pulling("node", name, corev1.PullIfNotPresent))
	b.await("node", "runs", running)
	b.create(pulling("all", name, corev1.PullNever))
	b.await("all", "runs", running)
}

// TestRegistriesLive: what is said of registries counts from the next pull on.
func TestRegistriesLive(t *testing.T) {
	b, plain, secure := newBench(t), newShelf(t, false), newShelf(t, true)
	password := "mirror"
	secure.password.Store(&password)
	var now atomic.Pointer[registry.Registries]
	now.Store(&registry.Registries{})
	b.reaching(func() registry.Registries { return *now.Load() })

	b.create(pulling("tls", secure.host()+"/app:1", corev1.PullIfNotPresent))
	b.await("tls", "fails", waits("ErrImagePull", "")) // containerd takes a port of this host for HTTP
	now.Store(&registry.Registries{Hosts: map[string]registry.Host{secure.host(): {CA: b.stranger()}}})
	b.create(pulling("ca", secure.host()+"/app:2", corev1.PullIfNotPresent))
	b.await("ca", "fails", waits("ErrImagePull", "x509: certificate signed by unknown authority"))
	b.awaitEvent("ca", "registries.hosts")

	now.Store(&registry.Registries{Hosts: map[string]registry.Host{
		"nowhere.example": {Mirrors: []string{"http://" + plain.host()}},
		registry.Others:   {Mirrors: []string{"http://127.0.0.1:1", secure.URL}},
		secure.host():     {CA: secure.authority(t), Username: "u", PasswordFile: passwordFile(t, password)},
		"unused.example":  {Username: "u", Password: "p"},
	}})
	b.create(pulling("mirror", "nowhere.example/app:1", corev1.PullIfNotPresent))
	b.await("mirror", "runs", running)
	b.create(pulling("others", "elsewhere.example/app:1", corev1.PullIfNotPresent))
	b.await("others", "runs", running)
	b.create(pulling("hub", "app:1", corev1.PullIfNotPresent))
	b.await("hub", "runs", running)

	now.Store(&registry.Registries{Hosts: map[string]registry.Host{"nowhere.example": {Mirrors: []string{secure.URL}, Username: "u", Password: password}}})
	b.create(pulling("leak", "nowhere.example/app:2", corev1.PullIfNotPresent))
	b.await("leak", "fails: a mirror is not shown the registry's credentials", waits("ErrImagePull", ""))
	if left, _ := os.ReadDir(b.containerd.HostsDir()); len(left) != 1 || left[0].Name() != "nowhere.example" {
		t.Errorf("hosts directories %v, want that of nowhere.example alone", left)
	}
}

// TestBrokenRegistries: what a registry does wrong is told, tried again, and goes right when the registry does.
func TestBrokenRegistries(t *testing.T) {
	b, s := newBench(t), newShelf(t, false)
	blobs := func(do func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				do(w, r)
				return true
			}
			return false
		}
	}
	manifests := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			fmt.Fprint(w, text)
			return true
		}
	}
	for name, test := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		want  string
	}{
		"fails": {func(w http.ResponseWriter, _ *http.Request) bool { http.Error(w, "no", 500); return true }, "500 Internal Server Error"},
		"truncated": {blobs(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			fmt.Fprint(w, "cut")
		}), "unexpected EOF"},
		"digest":   {blobs(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "something else") }), "failed"},
		"nonsense": {manifests("{{{"), "failed"},
		"huge":     {manifests(`{"a":"` + strings.Repeat("x", 12<<20) + `"}`), "failed"},
		"absent":   {func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }, "not found"},
	} {
		s.breaks(test.fault)
		b.create(pulling(name, s.host()+"/"+name+":1", corev1.PullIfNotPresent))
		b.await(name, "fails", waits("ErrImagePull", test.want))
		b.awaitEvent(name, test.want)
		b.client.CoreV1().Pods("default").Delete(b.ctx, name, metav1.DeleteOptions{})
	}
	s.breaks(nil)
	b.create(pulling("first", s.host()+"/app:1", corev1.PullAlways))
	b.create(pulling("second", s.host()+"/app:1", corev1.PullAlways)) // at once
	b.await("first", "runs", running)
	b.await("second", "runs", running)
	b.create(pulling("name", "no-such-host.invalid/app:1", corev1.PullIfNotPresent))
	b.await("name", "fails", waits("ErrImagePull", "invalid"))
}

// TestPullCutShort: a registry that stops half way keeps neither the pod from being deleted nor the next pull from working.
func TestPullCutShort(t *testing.T) {
	b, s := newBench(t), newShelf(t, false)
	hangs, release := make(chan struct{}, 10), make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		hangs <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	b.create(pulling("half", s.host()+"/app:1", corev1.PullIfNotPresent))
	select {
	case <-hangs:
	case <-b.ctx.Done():
		t.Fatal("nothing was pulled")
	}
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "half", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.gone("half")
	s.breaks(nil)
	b.create(pulling("whole", s.host()+"/app:1", corev1.PullIfNotPresent))
	b.await("whole", "runs", running)
}

// stranger is the file of an authority that signed nothing of a shelf's.
func (b *bench) stranger() string {
	path := filepath.Join(b.t.TempDir(), "other.pem")
	if err := os.WriteFile(path, b.rest.CAData, 0o644); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func passwordFile(t *testing.T, password string) string {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
