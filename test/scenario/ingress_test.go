package scenario

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead.dev/fairlead/host/netns"
)

// apart is a control plane and a machine that is a node, each in a network namespace, with a web server beside the control plane.
type apart struct {
	t               *testing.T
	dir             string // of both, and the names of their namespaces
	server, machine *exec.Cmd
	roots           *x509.CertPool
}

const (
	serverIP  = "192.0.2.1"
	machineIP = "192.0.2.9"
)

func newApart(t *testing.T) *apart {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	a := &apart{t: t, dir: filepath.Join("/var/lib", fmt.Sprintf("fl-apart-%d", os.Getpid())), roots: x509.NewCertPool()}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(a.dir) })
	for _, name := range []string{"server", "machine"} {
		if err := netns.Create(a.space(name)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			a.end(name)
			if err := netns.Remove(a.space(name)); err != nil {
				t.Error(err)
			}
		})
	}
	a.in("server", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", a.space("machine"))
	for name, ip := range map[string]string{"server": serverIP, "machine": machineIP} {
		a.in(name, "ip", "link", "set", "lo", "up")
		a.in(name, "ip", "address", "add", ip+"/24", "dev", "eth0")
		a.in(name, "ip", "link", "set", "eth0", "up")
	}
	a.in("machine", "ip", "route", "add", "default", "via", serverIP)
	return a
}

func (a *apart) space(name string) string { return filepath.Join(a.dir, name+".netns") }

func (a *apart) data(name string) string { return filepath.Join(a.dir, name) }

// command is a program that will run in a namespace.
func (a *apart) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+a.dir, "KUBECONFIG=")
	return cmd
}

// in runs a program in a namespace.
func (a *apart) in(name string, args ...string) {
	a.t.Helper()
	if _, err := a.try(name, args...); err != nil {
		a.t.Fatal(err)
	}
}

// try runs a program in a namespace and returns what it printed.
func (a *apart) try(name string, args ...string) (string, error) {
	cmd, out := a.command(args...), &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	err := netns.Start(a.space(name), cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return out.String(), err
}

// kubectl is what is typed on the control plane's machine.
func (a *apart) kubectl(args ...string) []string {
	return append([]string{binary(a.t), "kubectl", "--kubeconfig", filepath.Join(a.data("server"), "admin.kubeconfig")}, args...)
}

// says waits until kubectl prints something.
func (a *apart) says(want string, args ...string) {
	a.t.Helper()
	eventually(a.t, strings.Join(args, " "), func() error {
		out, err := a.try("server", a.kubectl(args...)...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%q, want %q", out, want)
		}
		return err
	})
}

// run starts the program in a namespace, where it runs on.
func (a *apart) run(name string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := a.command(append([]string{binary(a.t)}, args...)...)
	log, err := os.OpenFile(a.data(name)+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := netns.Start(a.space(name), cmd); err != nil {
		a.t.Fatal(err)
	}
	return cmd
}

func (a *apart) runServer() {
	a.server = a.run("server", "server", "--name", "aparts", "--data-dir", a.data("server"), "--node-ip", serverIP)
}

func (a *apart) runAgent() {
	a.machine = a.run("machine", "agent", "--name", "apartm", "--data-dir", a.data("machine"), "--node-name", "m1", "--node-ip", machineIP,
		"--server", "https://"+serverIP+":6443", "--token-file", filepath.Join(a.data("server"), "join-token"))
}

// end takes down what runs in a namespace, with all that it made.
func (a *apart) end(name string) {
	if a.t.Failed() {
		log, _ := os.ReadFile(a.data(name) + ".log")
		a.t.Logf("%s:\n%s", name, tail(log, 30))
	}
	cmd := map[string]*exec.Cmd{"server": a.server, "machine": a.machine}[name]
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	a.in(name, binary(a.t), "down", "--data-dir", a.data(name))
}

// kill ends a process as a power cut does.
func (a *apart) kill(cmd *exec.Cmd) {
	a.t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		a.t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}

// web serves on the control plane's machine, which the node knows as the endpoint of a Service.
func (a *apart) web() {
	a.t.Helper()
	var socket net.Listener
	err := netns.Do(a.space("server"), func() (err error) {
		socket, err = net.Listen("tcp", serverIP+":8000")
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	go func() { _ = s.Serve(socket) }()
	a.t.Cleanup(func() { _ = s.Close() })
}

// certificate makes a certificate for shop.example.org that the test's clients trust, and returns the files of it and its key.
func (a *apart) certificate() (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{"shop.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &private.PublicKey, private)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(a.dir, name), text, 0o600); err != nil {
			a.t.Fatal(err)
		}
		a.roots.AppendCertsFromPEM(text)
		return filepath.Join(a.dir, name)
	}
	return write("shop.crt", "CERTIFICATE", der), write("shop.key", "PRIVATE KEY", raw)
}

// ask asks the node for https://shop.example.org/, with its certificate verified.
func (a *apart) ask() error {
	dial := func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		err = netns.Do(a.space("server"), func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, "tcp", machineIP+":443")
			return err
		})
		return c, err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: a.roots}}}
	answer, err := client.Get("https://shop.example.org/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && string(body) != "hello" {
		err = fmt.Errorf("%s: %q", answer.Status, body)
	}
	return err
}

const shop = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: "", port: 8000}]
endpoints: [{addresses: [` + serverIP + `]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  tls: [{hosts: [shop.example.org], secretName: shop}]
  rules: [{host: shop.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
`

// TestIngressWithoutTheAPI: a node whose agent is killed serves what it served, with the same certificates, as soon as the next agent
// runs, while the API server does not answer, and while there is none; and follows the API again when that is back.
func TestIngressWithoutTheAPI(t *testing.T) {
	a := newApart(t)
	a.runServer()
	eventually(t, "the token", func() error { _, err := os.Stat(filepath.Join(a.data("server"), "join-token")); return err })
	a.runAgent()
	a.web()
	a.says("fairlead.dev/ingress", "get", "ingressclass")
	cert, key := a.certificate()
	a.in("server", a.kubectl("create", "secret", "tls", "shop", "--cert", cert, "--key", key)...)
	manifest := filepath.Join(a.dir, "shop.yaml")
	if err := os.WriteFile(manifest, []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	a.in("server", a.kubectl("apply", "-f", manifest)...)
	eventually(t, "the Ingress answers", a.ask)
	eventually(t, "what is served is kept", func() error {
		text, err := os.ReadFile(filepath.Join(a.data("machine"), "nodes", "m1", "l7.json"))
		if err == nil && !bytes.Contains(text, []byte("tls.key")) {
			err = fmt.Errorf("without the certificate")
		}
		return err
	})
	if err := a.server.Process.Signal(syscall.SIGSTOP); err != nil { // it takes connections and answers nothing
		t.Fatal(err)
	}
	a.kill(a.machine)
	if a.ask() == nil {
		t.Error("something answers while there is no agent")
	}
	a.runAgent()
	eventually(t, "another agent answers while the API server does not", a.ask)
	a.kill(a.server)
	a.kill(a.machine)
	a.runAgent()
	eventually(t, "another agent answers while there is no API server", a.ask)
	a.runServer()
	a.says(" Ready ", "get", "nodes")
	if err := a.ask(); err != nil {
		t.Errorf("when the API server is back: %v", err)
	}
	a.in("server", a.kubectl("delete", "ingress", "shop")...)
	eventually(t, "nothing is served any more", func() error {
		if err := a.ask(); err == nil || !strings.Contains(err.Error(), "refused") {
			return fmt.Errorf("answer: %v", err)
		}
		return nil
	})
}
