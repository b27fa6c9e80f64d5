package apiserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
)

// ports are so few that a leak or a port given twice shows.
const ports = 32

// oneOfTwo is the configuration of a server over an etcd that another one may work on.
func oneOfTwo(t *testing.T, dir, at, keys string) apiserver.Config {
	t.Helper()
	cfg := apitest.Config(t, dir)
	cfg.EtcdServers, cfg.Encryption, cfg.NodePorts = []string{at}, keys, alloc.PortRange{First: 30000, Last: 30000 + ports - 1}
	return cfg
}

// besides lets the server of a configuration start although another one works: as if both took the other for one that was killed.
func besides(t *testing.T, etcd *embed.Etcd, cfg apiserver.Config) {
	t.Helper()
	client := v3client.New(etcd.Server)
	got, err := client.Get(t.Context(), "/fairlead.dev/apiserver")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	holder := map[string]any{}
	if err := json.Unmarshal(got.Kvs[0].Value, &holder); err != nil {
		t.Fatal(err)
	}
	holder["dir"] = cfg.DataDir
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), "/fairlead.dev/apiserver", string(text)); err != nil {
		t.Fatal(err)
	}
}

func nodePort(name string, port int32) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: port}},
	}}
}

func createService(t *testing.T, client kubernetes.Interface, svc *corev1.Service) (*corev1.Service, error) {
	return client.CoreV1().Services("default").Create(t.Context(), svc, metav1.CreateOptions{})
}

// claimedPorts says how the claims in etcd differ from what the stored Services have; "": not at all.
func claimedPorts(t *testing.T, etcd *embed.Etcd, client kubernetes.Interface) string {
	t.Helper()
	services, err := client.CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	got, err := v3client.New(etcd.Server).Get(t.Context(), "/fairlead.dev/nodeports/", clientv3.WithPrefix())
	if err != nil {
		return err.Error()
	}
	claims := map[string]string{}
	for _, kv := range got.Kvs {
		claims[strings.TrimPrefix(string(kv.Key), "/fairlead.dev/nodeports/")] = string(kv.Value)
	}
	var wrong []string
	for _, svc := range services.Items {
		for _, p := range svc.Spec.Ports {
			if p.NodePort == 0 {
				continue
			}
			key := fmt.Sprint(p.NodePort)
			if claims[key] != string(svc.UID) {
				wrong = append(wrong, fmt.Sprintf("%s of %s is claimed by %q, not by %s", key, svc.Name, claims[key], svc.UID))
			}
			delete(claims, key)
		}
	}
	for port, uid := range claims {
		wrong = append(wrong, fmt.Sprintf("%s is claimed by %s, which is not stored", port, uid))
	}
	return strings.Join(wrong, "; ")
}

// Two servers over one etcd give no node port to two Services, one that is killed leaves no claim behind, and what it gave is known to the
// next one.
func TestNodePortsOfTwoServers(t *testing.T) {
	etcd, at := externalEtcd(t)
	one := oneOfTwo(t, t.TempDir(), at, "")
	first, _ := apitest.Run(t, one)
	keys := filepath.Join(one.DataDir, "encryption.yaml")
	two := oneOfTwo(t, t.TempDir(), at, keys)
	besides(t, etcd, two)
	second, _ := apitest.Run(t, two)
	clients := []kubernetes.Interface{clientOf(t, first.ClientConfig()), clientOf(t, second.ClientConfig())}

	var group sync.WaitGroup
	for i := range ports - 8 {
		group.Go(func() {
			if _, err := createService(t, clients[i%2], nodePort(fmt.Sprint("auto", i), 0)); err != nil {
				t.Errorf("%d free of %d: %v", ports-i, ports, err)
			}
		})
	}
	group.Wait()
	if wrong := claimedPorts(t, etcd, clients[0]); wrong != "" {
		t.Fatal(wrong)
	}
	mine, err := clients[0].CoreV1().Services("default").Get(t.Context(), "auto0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	port := mine.Spec.Ports[0].NodePort
	if _, err := createService(t, clients[1], nodePort("same", port)); err == nil || !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Errorf("a port of the other server's Service: %v", err)
	}
	if err := clients[1].CoreV1().Services("default").Delete(t.Context(), "auto0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if wrong := claimedPorts(t, etcd, clients[0]); wrong != "" {
		t.Errorf("deleted through the other server: %s", wrong)
	}
	apitest.Eventually(t, func() string { // once the second has seen that nobody has it
		if _, err := createService(t, clients[1], nodePort("same", port)); err != nil {
			return err.Error()
		}
		return ""
	})

	killWhileItGives(t, etcd, at, keys)
	if wrong := claimedPorts(t, etcd, clients[0]); wrong != "" {
		t.Errorf("after a kill: %s", wrong)
	}
}

// killWhileItGives runs a third server that makes and deletes Services until it is killed.
func killWhileItGives(t *testing.T, etcd *embed.Etcd, at, keys string) {
	t.Helper()
	dir := t.TempDir()
	besides(t, etcd, apiserver.Config{DataDir: dir})
	victim := exec.Command(os.Args[0], "-test.run=^TestPortVictim$", "-test.v")
	victim.Env = append(os.Environ(), victimDir+"="+dir, "FAIRLEAD_TEST_VICTIM_ETCD="+at, "FAIRLEAD_TEST_VICTIM_KEYS="+keys)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(2*time.Minute, func() { _ = victim.Process.Kill() })
	defer deadline.Stop()
	acknowledged := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "acknowledged") {
			if acknowledged++; acknowledged == 40 {
				_ = victim.Process.Kill()
			}
		}
	}
	_ = victim.Wait() // killed
	if acknowledged < 40 {
		t.Errorf("the server ended after %d writes", acknowledged)
	}
}

// TestPortVictim is the server that killWhileItGives kills.
func TestPortVictim(t *testing.T) {
	dir, at := os.Getenv(victimDir), os.Getenv("FAIRLEAD_TEST_VICTIM_ETCD")
	if at == "" {
		return
	}
	server, _ := apitest.Run(t, oneOfTwo(t, dir, at, os.Getenv("FAIRLEAD_TEST_VICTIM_KEYS")))
	client := clientOf(t, server.ClientConfig())
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 10_000 {
				name := fmt.Sprintf("victim-%d-%d", w, i)
				if _, err := createService(t, client, nodePort(name, 0)); err != nil && !apierrors.IsInternalError(err) {
					return
				} else if err == nil {
					fmt.Println("acknowledged", name)
				}
				if i > 0 {
					_ = client.CoreV1().Services("default").Delete(t.Context(), fmt.Sprintf("victim-%d-%d", w, i-1), metav1.DeleteOptions{})
				}
			}
		})
	}
	group.Wait()
}

// A write whose answer from etcd is lost leaves its Service and the claims of its ports together, or neither; and in the end every
// port can be had.
func TestNodePortsWhenAnswersAreLost(t *testing.T) {
	etcd, at := externalEtcd(t)
	wire := &brokenWire{to: strings.TrimPrefix(at, "unix://")}
	cfg := oneOfTwo(t, t.TempDir(), wire.listen(t), "")
	server, stop := apitest.Run(t, cfg)
	client := clientOf(t, server.ClientConfig())
	wire.breaking.Store(true)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 12 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				name := fmt.Sprintf("lost-%d-%d", w, i)
				_, _ = client.CoreV1().Services("default").Create(ctx, nodePort(name, 0), metav1.CreateOptions{})
				_ = client.CoreV1().Services("default").Delete(ctx, name, metav1.DeleteOptions{})
				cancel()
			}
		})
	}
	group.Wait()
	wire.breaking.Store(false)
	stop()
	if wire.broken.Load() == 0 {
		t.Fatal("no answer was lost")
	}
	server, _ = apitest.Run(t, cfg)
	client = clientOf(t, server.ClientConfig())
	if wrong := claimedPorts(t, etcd, client); wrong != "" {
		t.Fatal(wrong)
	}
	have, err := client.CoreV1().Services("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := len(have.Items) - 1; i < ports; i++ { // one is default/kubernetes
		if _, err := createService(t, client, nodePort(fmt.Sprint("fill", i), 0)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, err := createService(t, client, nodePort("more", 0)); err == nil {
		t.Errorf("more than %d ports were given", ports)
	}
	if wrong := claimedPorts(t, etcd, client); wrong != "" {
		t.Error(wrong)
	}
}

// brokenWire leads to an etcd and loses some of its answers, with the connections that they come by.
type brokenWire struct {
	to       string
	breaking atomic.Bool
	broken   atomic.Int32
}

func (b *brokenWire) listen(t *testing.T) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "wire.sock")
	listener, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", b.to)
			if err != nil {
				client.Close()
				return
			}
			go func() { _, _ = io.Copy(server, client); server.Close() }()
			go func() { _ = b.answers(client, server); client.Close(); server.Close() }()
		}
	}()
	return "unix://" + at
}

// answers passes on what etcd says, until it loses a part.
func (b *brokenWire) answers(client io.Writer, server io.Reader) error {
	part := make([]byte, 4096)
	for {
		n, err := server.Read(part)
		if err != nil {
			return err
		}
		if b.breaking.Load() && rand.IntN(150) == 0 {
			b.broken.Add(1)
			return errors.New("lost")
		}
		if _, err := client.Write(part[:n]); err != nil {
			return err
		}
	}
}

// A Service may have more ports than etcd's transactions have operations as it comes.
func TestNodePortsOfAServiceWithMany(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t))
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "many"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}}
	for n := range int32(300) {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", n), Port: 1 + n})
	}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Services("default").Delete(t.Context(), "many", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
