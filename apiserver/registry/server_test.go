package registry_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/internal/apitest"
)

// server is a running API server and the two ways its users reach it.
type server struct {
	kubernetes.Interface
	config     *rest.Config
	kubeconfig string
}

// start runs an API server until the test ends. Subtests that share one use names of their own.
func start(t *testing.T) *server {
	t.Helper()
	return connect(t, apitest.Start(t))
}

func connect(t *testing.T, config *rest.Config) *server {
	t.Helper()
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthority: config.CAFile, CertificateAuthorityData: config.CAData, TLSServerName: config.ServerName}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return &server{Interface: client, config: config, kubeconfig: file}
}

// kubectl runs the real kubectl with input on its standard input.
func (s *server) kubectl(t *testing.T, input string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if strings.HasPrefix(input, "{") { // kubectl reads what begins like this as JSON, but the tests write YAML
		data, err := yaml.YAMLToJSON([]byte(input))
		if err != nil {
			t.Fatalf("%v in %s", err, input)
		}
		input = string(data)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/kubectl", append([]string{"--kubeconfig", s.kubeconfig, "--cache-dir", filepath.Dir(s.kubeconfig)}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// must is kubectl that has to succeed; it returns what was printed.
func (s *server) must(t *testing.T, input string, args ...string) string {
	t.Helper()
	stdout, stderr, err := s.kubectl(t, input, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// refused is kubectl that has to fail; it returns the complaint.
func (s *server) refused(t *testing.T, input string, args ...string) string {
	t.Helper()
	stdout, stderr, err := s.kubectl(t, input, args...)
	if err == nil {
		t.Fatalf("kubectl %s was accepted:\n%s", strings.Join(args, " "), stdout)
	}
	return stderr
}

// eventuallyRefused is kubectl that has to fail with a complaint, once what the server decides by has been read.
func (s *server) eventuallyRefused(t *testing.T, words string, args ...string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		stdout, stderr, err := s.kubectl(t, "", args...)
		if err == nil || !strings.Contains(stderr, words) {
			return stdout + stderr + ", want " + words
		}
		return ""
	})
}
