package pulls

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/node/registry"
)

func secret(name, auths string) corev1.Secret {
	return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: "uid-" + "x"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(auths)}}
}

// TestCandidates: the pod's before the node's; each to its own server; nobody's where there are none.
func TestCandidates(t *testing.T) {
	all := secret("s", `{"auths":{"https://a.example/v1/":{"username":"u","password":"p"},"a.example/team":{"auth":"dDp0"},"b.example":{"username":"b","password":"b"}}}`)
	for _, test := range []struct {
		image, want string
		secrets     []corev1.Secret
		own         []registry.Credential
	}{
		{"a.example/x:1", "u@https://s", []corev1.Secret{all}, nil},
		{"a.example/team/x", "t@https://s u@https://s", []corev1.Secret{all}, nil},
		{"c.example/x", "anybody", []corev1.Secret{all}, nil},
		{"c.example/x", "m@https://m", []corev1.Secret{all}, []registry.Credential{{Server: "https://m", Username: "m"}}},
		{"a.example/x", "u@https://s m@https://m", []corev1.Secret{all}, []registry.Credential{{Server: "https://m", Username: "m"}}},
		{"a.example/x", "anybody", []corev1.Secret{{Type: corev1.SecretTypeOpaque}}, nil},
	} {
		found, err := Candidates(test.image, "https://s", test.secrets, test.own)
		got := ""
		for _, c := range found {
			if got != "" {
				got += " "
			}
			if c.Auth == nil {
				got += "anybody"
			} else {
				got += c.Auth.Username + "@" + c.Auth.ServerAddress
			}
			if own := c.Auth == nil || c.Auth.Username == "m"; own != (c.Secret == nil) || !own && (c.Secret.Name != "s" || c.Secret.Hash == "") {
				t.Errorf("%s: from %v", test.image, c.Secret)
			}
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.image, got, err, test.want)
		}
	}
	if _, err := Candidates("a.example/x", "", []corev1.Secret{secret("s", "{")}, nil); err == nil {
		t.Error("a secret that is none is taken")
	}
}

// TestMustPull: who may have an image that is there.
func TestMustPull(t *testing.T) {
	one, other := Secret{UID: "1", Namespace: "ns", Name: "one", Hash: "h1"}, Secret{UID: "2", Namespace: "ns", Name: "other", Hash: "h2"}
	same, rotated := Secret{UID: "3", Namespace: "ns", Name: "same", Hash: "h1"}, Secret{UID: "1", Namespace: "ns", Name: "one", Hash: "h9"}
	dir := filepath.Join(t.TempDir(), "pulls")
	r := &Records{Dir: dir}
	shows := func(secrets ...Secret) func() ([]Secret, error) {
		return func() ([]Secret, error) { return secrets, nil }
	}
	expect := func(what, image string, want bool, show func() ([]Secret, error)) {
		t.Helper()
		r = &Records{Dir: dir} // a restart between all steps
		if got, err := r.MustPull(image, "sha256:id", show); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
	never := func() ([]Secret, error) { return nil, errors.New("asked for nothing") }
	pulled := func(image string, by Candidate) {
		t.Helper()
		if err := errors.Join(r.Begin(image), r.Pulled(image, "sha256:id", by)); err != nil {
			t.Fatal(err)
		}
	}
	expect("imported", "a.example/x:1", false, never)
	if err := r.Begin("a.example/x:1"); err != nil {
		t.Fatal(err)
	}
	expect("killed while it was pulled", "a.example/x:1", true, shows())
	r.Failed("a.example/x:1")
	expect("the pull failed", "a.example/x:1", false, never)
	pulled("a.example/x:1", Candidate{Secret: &one})
	expect("nothing shown", "a.example/x:1", true, shows())
	expect("another", "a.example/x:2", true, shows(other))
	expect("the same secret", "a.example/x:2", false, shows(other, one))
	expect("the same credentials", "a.example/x:1", false, shows(same))
	expect("new credentials of a known secret", "a.example/x:1", false, shows(rotated))
	expect("which are known now", "a.example/x:1", false, shows(Secret{UID: "7", Hash: "h9"}))
	expect("another name of the image", "b.example/x:1", true, shows(one))
	pulled("b.example/x:1", Candidate{})
	expect("everybody", "b.example/x:1", false, never)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := r.Forget(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestJoined(t *testing.T) {
	if got := fmt.Sprint(Joined([]string{"a", "a"}), Joined([]string{"a", "b"})); got != "a[a, b]" {
		t.Error(got)
	}
}
