package config

import (
	"fmt"
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

func TestIngressClasses(t *testing.T) {
	for text, want := range map[string]string{"port: 7000\n": "[fairlead]", "ingressClasses: [edge, nginx]\n": "[edge nginx]"} {
		s, err := Resume(Config{DataDir: write(t, text)}, Config{Name: "a"})
		if got := fmt.Sprint(s.IngressClasses); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	s, err := Resume(Config{DataDir: write(t, "")}, Config{Name: "a", IngressClasses: []string{"kept"}})
	if err != nil || fmt.Sprint(s.IngressClasses) != "[kept]" {
		t.Errorf("of a cluster that was started before: %v, %v", s.IngressClasses, err)
	}
}

func TestWrongInputIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"podNetwork: 10.0.0.0/16\n":                         `unknown field "podNetwork"`,
		"port: 1\nport: 2\n":                                `"port" already set`,
		"port: many\n":                                      "cannot unmarshal string into Go struct field Config.port",
		"podCIDR: 10.0.0.0/30\n":                            `pod-cidr "10.0.0.0/30": must be`,
		"clusterDNS: 192.0.2.1\n":                           `cluster-dns "192.0.2.1": must be an address inside`,
		"nodePorts: 1-70000\n":                              `node-ports "1-70000": must be`,
		"podCIDR: 10.96.0.0/16\n":                           "must not overlap the Service range",
		"ingressClasses: [fairlead, Nginx]\n":               `ingress-classes "Nginx": must be names of IngressClasses`,
		"port: 99999\n":                                     `port "99999": must be between`,
		"domain: Upper.Case\n":                              `domain "Upper.Case": must be`,
		"nodeIP: localhost\n":                               `node-ip "localhost": must be`,
		"nodes: 99\n":                                       `nodes "99": must be`,
		"podCIDR: 10.1.0.0/16,10.2.0.0/16\n":                "two ranges of IPv4",
		"serviceCIDR: fd00::/64\n":                          `service-cidr "fd00::/64": must be an IPv6 network of /108 to /124`,
		"podCIDR: fd00::/80\n":                              "must be an IPv6 network of /64 or larger",
		"podCIDR: fd00:1::/56\nserviceCIDR: 10.96.0.0/12\n": "must be of the families IPv4 in this order",
		"serviceCIDR: 10.96.0.0/12\nclusterDNS: fd00::1\n":  `cluster-dns "fd00::1": must be an address inside`,
		"clusterDNS: 10.96.0.1\n":                           "not its first, which is the API's",
		"dualStack: true\nserviceCIDR: fd00:10:244::/112\n": "must not overlap the Service range fd00:10:244::/112",
		"nodeIP: fd00::2,fd00::3\n":                         "two addresses of IPv6",
		"ingressPorts: '80'\n":                              `ingress-ports "80": must be HTTP,HTTPS`,
		"ingressPorts: 80,80\n":                             "need a port each",
		"ingressPorts: 80,70000\n":                          "two ports between 1 and 65535",
		"ingressPorts: 80,6443\n":                           "6443 is the API server's (--port); choose another, or say --ingress=false",
		"ingressPorts: 10250,443\n":                         "10250 is the agent's",
		"ingressPorts: 80,30443\n":                          "30443 is a node port",
		"podCIDR: ::ffff:10.0.0.0/104\n":                    "must not be an IPv4 network written as IPv6",
		"serviceCIDR: 10.96.0.5/12,":                        `service-cidr "10.96.0.5/12": must be`,
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

// The ranges of both families: which are completed, in which order, and the cluster DNS in each.
func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags Config
		want  string // pods, Services, DNS
	}{
		{"dual-stack by default", Config{DualStack: true}, "10.244.0.0/16,fd00:10:244::/56 10.96.0.0/12,fd00:10:96::/112 10.96.0.10,fd00:10:96::a"},
		{"dual-stack, IPv6 first", Config{DualStack: true, ServiceCIDR: "fd00:1::/112"}, "fd00:10:244::/56,10.244.0.0/16 fd00:1::/112,10.96.0.0/12 fd00:1::a,10.96.0.10"},
		{"dual-stack by the Services", Config{ServiceCIDR: "10.1.0.0/16, fd00:1::/112"}, "10.244.0.0/16,fd00:10:244::/56 10.1.0.0/16,fd00:1::/112 10.1.0.10,fd00:1::a"},
		{"dual-stack by the pods", Config{PodCIDR: "fd00:1::/48,10.1.0.0/16"}, "fd00:1::/48,10.1.0.0/16 fd00:10:96::/112,10.96.0.0/12 fd00:10:96::a,10.96.0.10"},
		{"IPv6 alone", Config{PodCIDR: "fd00:1::/64"}, "fd00:1::/64 fd00:10:96::/112 fd00:10:96::a"},
		{"one DNS address", Config{DualStack: true, ClusterDNS: "fd00:10:96::53"}, "10.244.0.0/16,fd00:10:244::/56 10.96.0.0/12,fd00:10:96::/112 10.96.0.10,fd00:10:96::53"},
		{"one pod range", Config{DualStack: true, PodCIDR: "10.1.0.0/16"}, "10.1.0.0/16,fd00:10:244::/56 10.96.0.0/12,fd00:10:96::/112 10.96.0.10,fd00:10:96::a"},
	} {
		c.flags.DataDir = t.TempDir()
		s, err := Resolve(c.flags)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := s.PodCIDR + " " + s.ServiceCIDR + " " + s.ClusterDNS; got != c.want || len(s.Pods) != len(s.Services) || len(s.DNS) != len(s.Services) {
			t.Errorf("%s\n got %s\nwant %s", c.name, got, c.want)
		}
		if s.DualStack != (len(s.Services) == 2) {
			t.Errorf("%s: dual-stack is %v", c.name, s.DualStack)
		}
	}
}

// A cluster may gain a family, and keeps the one that was first.
func TestResumedFamilies(t *testing.T) {
	four, err := Resolve(Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	both, err := Resume(Config{DataDir: t.TempDir(), DualStack: true}, four.Config)
	if err != nil || both.ServiceCIDR != "10.96.0.0/12,fd00:10:96::/112" || both.ClusterDNS != "10.96.0.10,fd00:10:96::a" {
		t.Errorf("a second family: %+v, %v", both.Config, err)
	}
	again, err := Resume(Config{DataDir: t.TempDir()}, both.Config)
	if err != nil || again.ServiceCIDR != both.ServiceCIDR {
		t.Errorf("started again without a flag: %+v, %v", again.Config, err)
	}
	for _, flags := range []Config{
		{PodCIDR: "fd00:1::/56", ServiceCIDR: "fd00:2::/112", ClusterDNS: "fd00:2::a"},
		{DualStack: true, PodCIDR: "fd00:1::/56", ServiceCIDR: "fd00:2::/112", ClusterDNS: "fd00:2::a"},
	} {
		flags.DataDir = t.TempDir()
		if _, err := Resume(flags, four.Config); err == nil || !strings.Contains(err.Error(), "its first family is IPv4 and stays so") {
			t.Errorf("another first family: %v", err)
		}
	}
}

func TestElseKeepsWhatIsSet(t *testing.T) {
	got := Config{Port: 1, ClusterDomain: "a"}.Else(Config{Port: 2, Nodes: 3, EtcdServers: []string{"x"}})
	if got.Port != 1 || got.ClusterDomain != "a" || got.Nodes != 3 || len(got.EtcdServers) != 1 {
		t.Errorf("got %+v", got)
	}
}

// named writes a configuration file into a new directory.
func named(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheFilesNameCounts(t *testing.T) {
	dir := named(t, "name: prod\n")
	for _, c := range []struct{ flag, saved, want string }{
		{"", "", "prod"}, {"other", "", "other"}, {"", "prod", "prod"}, {"prod", "prod", "prod"},
		{"other", "prod", `name "other": the cluster in ` + dir + ` is named "prod"`}, {"", "other", `name "prod": the cluster in ` + dir + ` is named "other"`},
	} {
		s, err := Resume(Config{DataDir: dir, Name: c.flag}, Config{Name: c.saved})
		got := s.Name
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if _, err := Resolve(Config{DataDir: named(t, "name: Bad_Name\n")}); err == nil || !strings.Contains(err.Error(), `"Bad_Name"`) {
		t.Errorf("a wrong name in the file: %v", err)
	}
	if s, err := Resume(Config{DataDir: t.TempDir()}, Config{Name: "stopped"}); err != nil || s.Name != "stopped" {
		t.Errorf("a stopped cluster is named %q, %v", s.Name, err)
	}
}

func TestTheFilesDataDirCounts(t *testing.T) {
	data := t.TempDir()
	_, file, err := place(Config{DataDir: named(t, "dataDir: "+data+"\n")})
	if err == nil || !strings.Contains(err.Error(), data) || file.DataDir != data {
		t.Errorf("against --data-dir: %v", err)
	}
	same := t.TempDir()
	if err := os.WriteFile(filepath.Join(same, "config.yaml"), []byte("dataDir: "+same+"/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Resolve(Config{DataDir: same}); err != nil || s.DataDir != same {
		t.Errorf("the same: %q, %v", s.DataDir, err)
	}
	for text, want := range map[string]string{"dataDir: " + data: data, "dataDir: here": "absolute path", "dataDir: " + same: "config.yaml of its own"} {
		dir := named(t, text)
		dataDir, err := fileDir(dir, mustLoad(t, dir))
		if got := fmt.Sprint(dataDir, err); !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func mustLoad(t *testing.T, dir string) Config {
	t.Helper()
	c, err := load(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRegistriesAreChecked: what is said of registries is refused with file and line, and kept nowhere but in the file.
func TestRegistriesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"port: 7000\nregistrys: {}\n":                                      "config.yaml:2: unknown field \"registrys\"",
		"registries:\n  hosts:\n    a.example:\n      plainHttps: true\n":  "config.yaml:4: unknown field \"plainHttps\"",
		"registries:\n  hosts:\n    a.example:\n      plainHTTP: surely\n": "config.yaml:4: cannot unmarshal string",
		"registries:\n  hosts:\n    a.example:\n      mirrors: [m]\n":      "config.yaml:4: registries.hosts.a.example.mirrors:",
		"registries:\n  hosts:\n    https://a.example: {}\n":               "config.yaml:3: registries.hosts.https://a.example: must be",
		"registries:\n  proxy: {https: proxy}\n":                           "config.yaml:2: registries.proxy.https: must be a URL",
		"registries:\n  hosts: {a.example: {ca: /nowhere/ca.pem}}\n":       "config.yaml:2: registries.hosts.a.example.ca: open /nowhere/ca.pem",
		"own: {file: /etc/passwd}\n":                                       "config.yaml:1: unknown field \"own\"",
	} {
		path := filepath.Join(write(t, text), "config.yaml")
		if _, err := Registries(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q\n got %v\nwant %s", text, err, want)
		}
	}
	path := filepath.Join(write(t, "registries:\n  hosts: {a.example: {username: u, password: p}}\n"), "config.yaml")
	if r, err := Registries(path); err != nil || r.Hosts["a.example"].Password != "p" {
		t.Errorf("%v, %v", r, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Registries(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a password that all may read: %v", err)
	}
}

// TestFileElsewhere: a file that says that the data lie elsewhere is found again by what is saved of it.
func TestFileElsewhere(t *testing.T) {
	data := t.TempDir()
	dir := write(t, "dataDir: "+data+"\nregistries: {hosts: {a.example: {plainHTTP: true}}}\n")
	first, err := Resolve(Config{DataDir: dir})
	if err == nil || first.DataDir != "" { // the flag and the file disagree: only the default place may point elsewhere
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := Resolve(Config{Name: "a", DataDir: data, Own: Own{File: filepath.Join(dir, "config.yaml")}})
	if err != nil || !again.Registries.Hosts["a.example"].PlainHTTP || again.DataDir != data {
		t.Errorf("%+v, %v", again.Config, err)
	}
}
