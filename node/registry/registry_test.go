package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck: what cannot be is refused, by the setting.
func TestCheck(t *testing.T) {
	host := func(name string, h Host) Registries { return Registries{Hosts: map[string]Host{name: h}} }
	for _, test := range []struct {
		in   Registries
		want string
	}{
		{Registries{}, ""},
		{host("docker.io", Host{Mirrors: []string{"https://m.example:5000", "http://10.0.0.1/v2/hub"}}), ""},
		{host("[fd00::1]:5000", Host{PlainHTTP: true}), ""},
		{host(Others, Host{Mirrors: []string{"https://m.example"}}), ""},
		{host("https://docker.io", Host{}), "hosts.https://docker.io: must be a registry as images name it"},
		{host("docker.io/library", Host{}), "must be a registry as images name it"},
		{host("a.example", Host{Mirrors: []string{"m.example"}}), `hosts.a.example.mirrors: "m.example": must be a URL such as`},
		{host("a.example", Host{Mirrors: []string{"https://u:p@m.example"}}), `credentials go to the entry of "m.example"`},
		{host(Others, Host{PlainHTTP: true}), "nothing but mirrors can be said"},
		{host(Others, Host{Username: "u", Password: "p"}), "nothing but mirrors can be said"},
		{host("a.example", Host{PlainHTTP: true, CA: "/ca"}), "plainHTTP: a registry without TLS has no certificates"},
		{host("a.example", Host{Username: "u"}), "username: a username and a password belong together"},
		{host("a.example", Host{Password: "p"}), "username: a username and a password belong together"},
		{host("a.example", Host{Username: "u", Password: "p", PasswordFile: "/p"}), "passwordFile: give password or passwordFile"},
		{host("a.example", Host{CA: "ca.pem"}), `ca: "ca.pem": must be an absolute path`},
		{host("a.example", Host{ClientCert: "/c"}), "clientCert: clientCert and clientKey belong together"},
		{Registries{Proxy: Proxy{HTTPS: "proxy"}}, "proxy.https: must be a URL"},
	} {
		var found []string
		for _, p := range test.in.Check() {
			found = append(found, strings.Join(p.Path, ".")+": "+p.Text)
		}
		if got := strings.Join(found, "; "); (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("%+v\n got %q\nwant %q", test.in, got, test.want)
		}
	}
}

// TestCheckFiles: files that are missing, or are something else, are named.
func TestCheckFiles(t *testing.T) {
	nonsense := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(nonsense, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for field, h := range map[string]Host{
		"ca no certificate in PEM":  {CA: nonsense},
		"ca no such file":           {CA: nonsense + "2"},
		"clientCert failed to find": {ClientCert: nonsense, ClientKey: nonsense},
		"passwordFile no such file": {Username: "u", PasswordFile: nonsense + "2"},
	} {
		name, text, _ := strings.Cut(field, " ")
		found := Registries{Hosts: map[string]Host{"a.example": h}}.CheckFiles()
		if len(found) != 1 || found[0].Path[2] != name || !strings.Contains(found[0].Text, text) {
			t.Errorf("%s: %v", field, found)
		}
	}
}

// TestDirectories: what containerd is told, and that it is told no password.
func TestDirectories(t *testing.T) {
	r := Registries{Hosts: map[string]Host{
		"docker.io":      {Mirrors: []string{"https://m.example:5000/", "https://cache.example/v2/hub"}},
		"m.example:5000": {CA: "/ca.pem", ClientCert: "/c", ClientKey: "/k", Username: "u", Password: "geheim"},
		"plain.example":  {PlainHTTP: true},
		"only.example":   {Username: "u", Password: "geheim"},
		Others:           {Mirrors: []string{"http://m2.example"}},
	}}
	got := r.Directories()
	for dir, lines := range map[string][]string{
		"docker.io":      {`server = "https://registry-1.docker.io"`, `[host."https://m.example:5000"]`, `  ca = "/ca.pem"`, `  client = [["/c", "/k"]]`, `[host."https://cache.example/v2/hub"]`, `  override_path = true`},
		"m.example:5000": {`server = "https://m.example:5000"`, `ca = "/ca.pem"`, `[host."https://m.example:5000"]`},
		"plain.example":  {`server = "http://plain.example"`},
		"_default":       {`[host."http://m2.example"]`, `  capabilities = ["pull", "resolve"]`},
	} {
		for _, line := range lines {
			if !strings.Contains(got[dir], line+"\n") {
				t.Errorf("%s lacks %s:\n%s", dir, line, got[dir])
			}
		}
		delete(got, dir)
	}
	if len(got) > 0 {
		t.Errorf("directories too many: %v", got)
	}
	if strings.Contains(fmt.Sprint(r.Directories()), "geheim") {
		t.Error("a password is written down")
	}
}

// TestWrite: the directory has what is said and no more, for root alone, and is not written again.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs.d")
	said := Registries{Hosts: map[string]Host{"a.example": {PlainHTTP: true}, "b.example:1": {PlainHTTP: true}}}
	for range 2 {
		if err := Write(dir, said); err != nil {
			t.Fatal(err)
		}
	}
	delete(said.Hosts, "a.example")
	if err := Write(dir, said); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "b.example:1" {
		t.Errorf("%v, %v", left, err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "b.example:1", HostsFile)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// TestCredentials: each server is shown its own.
func TestCredentials(t *testing.T) {
	r := Registries{Hosts: map[string]Host{
		"docker.io": {Mirrors: []string{"https://m.example"}, Username: "hub", Password: "1"},
		"m.example": {Username: "mirror", Password: "2"},
		Others:      {Mirrors: []string{"https://m.example"}},
		"a.example": {PlainHTTP: true, Username: "a", Password: "3"},
	}}
	for image, want := range map[string]string{
		"nginx":         "[{https://m.example mirror 2} {https://registry-1.docker.io hub 1}]",
		"a.example/x:1": "[{http://a.example a 3}]",
		"b.example/x":   "[{https://m.example mirror 2}]",
		"m.example/x@sha256:" + strings.Repeat("0", 64): "[{https://m.example mirror 2}]",
	} {
		if got, err := r.Credentials(image); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v, want %s", image, got, err, want)
		}
	}
	if _, err := r.Credentials("UPPER"); err == nil {
		t.Error("nonsense is taken for an image")
	}
}

func TestProxy(t *testing.T) {
	p := Proxy{HTTPS: "http://u:geheim@proxy:3128", No: ".corp"}
	if got := fmt.Sprint(p.Environment([]string{"10.0.0.0/8"})); got != "[HTTPS_PROXY=http://u:geheim@proxy:3128 NO_PROXY=.corp,10.0.0.0/8]" {
		t.Error(got)
	}
	if got := p.String(); got != "https http://u:xxxxx@proxy:3128, not for .corp" {
		t.Error(got)
	}
	if got := (Proxy{No: "*"}).Environment([]string{"a"}); got != nil {
		t.Errorf("no proxy: %v", got)
	}
}

func TestAdvice(t *testing.T) {
	if got := Advice("a.example/x", `Head "https://a.example/v2/": x509: certificate signed by unknown authority`); !strings.Contains(got, `registries.hosts."a.example".ca`) {
		t.Error(got)
	}
	if got := Advice("a.example/x", "the moon is full"); got != "" {
		t.Error(got)
	}
}
