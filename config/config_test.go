package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDefaults(t *testing.T) {
	s, err := Resolve(Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "fairlead" || s.PodCIDR != "10.244.0.0/16" || s.ServiceCIDR != "10.96.0.0/12" ||
		join(s.DNS) != "10.96.0.10" || s.FirstPort != 30000 || s.LastPort != 32767 || s.Port != 6443 || s.AgentPort != 10250 {
		t.Errorf("got %+v", s)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	dir := write(t, "port: 7000\ndomain: file.local\n")
	s, err := Resolve(Config{DataDir: dir, Port: 8000})
	if err != nil {
		t.Fatal(err)
	}
	if s.Port != 8000 || s.Domain != "file.local" {
		t.Errorf("port %d, domain %s", s.Port, s.Domain)
	}
}

func TestWrongInputIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"podNetwork: 10.0.0.0/16\n":  `unknown field "podNetwork"`,
		"port: 1\nport: 2\n":         `"port" already set`,
		"port: many\n":               "cannot unmarshal string into Go struct field Config.port",
		"podCIDR: 10.0.0.0/30\n":     `pod-cidr "10.0.0.0/30": must be`,
		"clusterDNS: 192.0.2.1\n":    `cluster-dns "192.0.2.1": must be an address inside`,
		"nodePorts: 1-70000\n":       `node-ports "1-70000": must be`,
		"podCIDR: 10.96.0.0/16\n":    "must not overlap the Service range",
		"port: 99999\n":              `port "99999": must be between`,
		"domain: Upper.Case\n":       `domain "Upper.Case": must be`,
		"nodeIP: localhost\n":        `node-ip "localhost": must be`,
		"nodes: 99\n":                `nodes "99": must be`,
		"serviceCIDR: 10.96.0.5/12,": `service-cidr "10.96.0.5/12": must be`,
	} {
		_, err := Resolve(Config{DataDir: write(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := Resolve(Config{Name: "Not A Name"}); err == nil || !strings.Contains(err.Error(), `name "Not A Name"`) {
		t.Errorf("bad name: %v", err)
	}
}

func TestElseKeepsWhatIsSet(t *testing.T) {
	got := Config{Port: 1, Domain: "a"}.Else(Config{Port: 2, Nodes: 3, EtcdServers: []string{"x"}})
	if got.Port != 1 || got.Domain != "a" || got.Nodes != 3 || len(got.EtcdServers) != 1 {
		t.Errorf("got %+v", got)
	}
}
