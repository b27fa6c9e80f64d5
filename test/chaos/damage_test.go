package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// damage is what a power cut, a bad disk or a person does to a file.
type damage struct {
	name string
	do   func(path string) error
}

var damages = []damage{
	{"removed", os.Remove},
	{"emptied", func(path string) error { return os.Truncate(path, 0) }},
	{"halved", func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	}},
	{"zeroed", func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, make([]byte, len(text)), 0o600)
	}},
}

// startLimit is within what time a start that cannot succeed has to say so, on a machine that does other things as well.
const startLimit = 30 * time.Second

// TestDamage stops a cluster, damages one of its files, and starts it again: either everything that was there is there, or the
// start is refused within seconds by a sentence that names the file or the directory it belongs to. Nothing is ever made
// anew over what was there.
func TestDamage(t *testing.T) {
	c := newCluster(t, 1200)
	c.must(c.fairlead("up", "--name", "damage", "--nodes", "1"))
	typed, _ := c.clients()
	for i := range 50 {
		if _, err := typed.CoreV1().ConfigMaps("default").Create(t.Context(), numbered(i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	authority := identity(t, c)
	c.must(c.fairlead("down", "--keep-data"))
	whole := t.TempDir()
	if err := os.CopyFS(filepath.Join(whole, "whole"), os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	for _, k := range cases(t, c.dir) {
		t.Run(k.damage.name+" "+k.file, func(t *testing.T) {
			c.t = t
			c.restore(filepath.Join(whole, "whole"))
			if err := k.damage.do(c.path(k.file)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			out, err := c.fairlead("up")
			if took := time.Since(begin); took > startLimit {
				t.Errorf("up took %s", took)
			}
			switch {
			case err != nil && !told(out, c.dir, k.file):
				t.Errorf("up: %v, without a word of the file\n%s", err, out)
			case err == nil:
				c.everythingIsThere(authority)
			}
			if out, err := c.fairlead("down", "--keep-data"); err != nil && !told(out, c.dir, k.file) {
				t.Errorf("down: %v\n%s", err, out)
			}
		})
	}
	c.t = t
	c.restore(filepath.Join(whole, "whole")) // so that the cluster can be taken down
}

// numbered is the i-th ConfigMap.
func numbered(i int) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("kept-%d", i)}, Data: map[string]string{"a": strings.Repeat("b", 1000)}}
}

// trial is one file and what happens to it.
type trial struct {
	file   string
	damage damage
}

// cases are the files of a stopped cluster, but those of containers' images, with everything that may happen to them; some of
// them by chance if there are more than rounds.
func cases(t *testing.T, dir string) []trial {
	t.Helper()
	var all []trial
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() || strings.Contains(path, "/containerd/") {
			return err
		}
		for _, damage := range damages {
			file, _ := filepath.Rel(dir, path)
			all = append(all, trial{file, damage})
		}
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("%d cases: %v", len(all), err)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), *rounds)]
}

// told reports whether a text names a file, or the directory directly in the cluster's own that it belongs to.
func told(text, dir, file string) bool {
	top, _, _ := strings.Cut(file, "/")
	return strings.Contains(text, filepath.Join(dir, file)) || strings.Contains(text, filepath.Join(dir, top))
}

// restore makes the cluster's directory what it was.
func (c *cluster) restore(from string) {
	c.t.Helper()
	entries, err := os.ReadDir(c.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(c.path(e.Name())))
	}
	if err = errors.Join(err, os.CopyFS(c.dir, os.DirFS(from))); err != nil {
		c.t.Fatal(err)
	}
}

// everythingIsThere checks that a start has lost nothing.
func (c *cluster) everythingIsThere(authority []byte) {
	c.t.Helper()
	if !bytes.Equal(identity(c.t, c), authority) {
		c.t.Error("the cluster has another authority: nobody's certificate is good any more")
	}
	typed, _ := c.clients()
	var found []string
	err := eventually(patience, func() error {
		list, err := typed.CoreV1().ConfigMaps("default").List(c.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, m := range list.Items {
			found = append(found, m.Name)
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 50 {
		if !slices.Contains(found, numbered(i).Name) {
			c.t.Errorf("%s is lost", numbered(i).Name)
		}
	}
	nodes, err := typed.CoreV1().Nodes().List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	if len(nodes.Items) != 1 || nodes.Items[0].Name != "node1" {
		c.t.Errorf("the lab of node1 came back with %d nodes, the first is %s", len(nodes.Items), nodes.Items[0].Name)
	}
	if out, err := c.fairlead("status"); err != nil || !strings.Contains(out, "damage") {
		c.t.Errorf("status: %v: does not name the cluster\n%s", err, out)
	}
}

// identity is the certificate of the cluster's authority.
func identity(t *testing.T, c *cluster) []byte {
	t.Helper()
	return c.config().CAData
}
