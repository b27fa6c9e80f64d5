package kubeconfig

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"

	"fairlead.dev/fairlead/pki"
)

// cluster is one of those that come and go in a test, with its own authority.
type cluster struct {
	t      *testing.T
	entry  Entry
	record string
}

func newCluster(t *testing.T, name string) cluster {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(pki.Request{CommonName: "admin", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t, Entry{Name: name, Server: "https://192.0.2.1:6443", CA: ca.CertPEM(), Cert: cert, Key: key}, filepath.Join(t.TempDir(), "record")}
}

func me(files ...string) User { return User{UID: os.Geteuid(), GID: os.Getegid(), Files: files} }

func (c cluster) up(files ...string) (previous string) {
	c.t.Helper()
	previous, err := me(files...).Add(c.record, c.entry)
	if err != nil {
		c.t.Fatal(err)
	}
	return previous
}

func (c cluster) down() {
	c.t.Helper()
	if err := Remove(c.record); err != nil {
		c.t.Fatal(err)
	}
}

// change edits a kubeconfig as kubectl does.
func change(t *testing.T, path string, edit func(*api.Config)) {
	t.Helper()
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edit(c)
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
}

func currentOf(t *testing.T, path string) string {
	t.Helper()
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return c.CurrentContext
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func text(t *testing.T, path string) string {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

const flowing = `# mine, with a comment that must survive
apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: "https://192.0.2.9"}}]
contexts: [{name: work, context: {cluster: work, user: work}}]
users: [{name: work, user: {token: t}}]
current-context: work
`

const wide = `
apiVersion: v1
kind:   Config   # as I like it
preferences: {colors: true}

clusters:

    # the one at work
    - name: "work"   # quoted
      cluster:
          server: https://192.0.2.9
          x-unknown: [1, 2]

    - {name: wörk2, cluster: {server: "https://192.0.2.8"}}
    # the end of the list
users:
    - name: work
      user:
          token: >-
            a
            b

contexts:
    - name: work
      context: {cluster: work, user: work}
current-context: 'work' # today
extensions:
- name: mine
  extension: {a: 1}`

// shapes are kubeconfigs as people and programs write them.
var shapes = map[string]string{
	"flow":           flowing,
	"wide":           wide,
	"kubectl's":      "apiVersion: v1\nclusters:\n- cluster:\n    server: https://192.0.2.9\n  name: work\ncontexts:\n- context:\n    cluster: work\n    user: work\n  name: work\ncurrent-context: work\nkind: Config\npreferences: {}\nusers:\n- name: work\n  user:\n    token: t\n",
	"no context":     "apiVersion: v1\nclusters:\n- cluster: {server: a}\n  name: work\ncontexts: []\ncurrent-context: \"\"\nkind: Config\nusers: []\n",
	"few keys":       "kind: Config\napiVersion: v1\n",
	"no end of line": "kind: Config",
	"comment alone":  "# nothing yet\n",
	"empty":          "",
	"CRLF":           strings.ReplaceAll(flowing, "\n", "\r\n"),
	"JSON":           "{\n  \"kind\": \"Config\",\n  \"apiVersion\": \"v1\",\n  \"clusters\": [\n    {\"name\": \"work\", \"cluster\": {\"server\": \"https://192.0.2.9\"}}\n  ],\n  \"users\": [],\n  \"contexts\": [{\"name\": \"work\", \"context\": {\"cluster\": \"work\", \"user\": \"\"}}],\n  \"current-context\": \"work\"\n}\n",
}

func TestAddAndRemoveLeaveEveryOtherByte(t *testing.T) {
	for name, before := range shapes {
		t.Run(name, func(t *testing.T) {
			path := write(t, before)
			was, err := clientcmd.LoadFromFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c := newCluster(t, "lab")
			if got := c.up(path); got != was.CurrentContext {
				t.Errorf("the context before was %q, said to be %q", was.CurrentContext, got)
			}
			if got := c.up(path); got != "" { // again, as after a crash
				t.Errorf("a second start claims to have switched from %q", got)
			}
			now, err := clientcmd.LoadFromFile(path)
			if err != nil || now.CurrentContext != "lab" || now.Clusters["lab"] == nil || now.AuthInfos["lab"] == nil || len(now.Contexts) != len(was.Contexts)+1 {
				t.Fatalf("%v\n%s", err, text(t, path))
			}
			for line := range strings.Lines(before) {
				if strings.Contains(line, "#") && !strings.Contains(line, "today") && !strings.Contains(text(t, path), line) {
					t.Errorf("lost while up: %q", line)
				}
			}
			c.down()
			if got := text(t, path); strings.TrimRight(got, "\n") != strings.TrimRight(before, "\n") {
				t.Errorf("the file is not what it was:\n%s", got)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
			if _, err := os.Stat(c.record); err == nil {
				t.Error("the record stayed")
			}
		})
	}
}

// The user adds a context with a token; the machine restarts; up; down.
func TestWhatTheUserAddsStaysThroughARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".kube", "config")
	c := newCluster(t, "lab")
	c.up(path)
	change(t, path, func(c *api.Config) {
		c.AuthInfos["prod"] = &api.AuthInfo{Token: "secret"}
		c.Contexts["prod"] = &api.Context{Cluster: "prod", AuthInfo: "prod"}
	})
	c.up(path)
	c.down()
	got, err := clientcmd.LoadFromFile(path)
	if err != nil || got.AuthInfos["prod"].Token != "secret" || got.Contexts["prod"] == nil || got.Contexts["lab"] != nil || got.CurrentContext != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheFirstCurrentContextComesBack(t *testing.T) {
	for name, steps := range map[string]string{
		"last up first down":     "+A +B -B -A",
		"first up first down":    "+A +B -A -B",
		"restarted in between":   "+A +B +A -B -A",
		"restarted, A first":     "+A +B +A -A -B",
		"three, from the middle": "+A +B +C -B -A -C",
		"rewritten by kubectl":   "+A +B k -A k -B",
		"all again":              "+A +B +C +A +B +C -C -A -B",
	} {
		path := write(t, flowing)
		all := map[byte]cluster{'A': newCluster(t, "a"), 'B': newCluster(t, "b"), 'C': newCluster(t, "c")}
		for step := range strings.FieldsSeq(steps) {
			switch step[0] {
			case '+':
				all[step[1]].up(path)
			case '-':
				all[step[1]].down()
			default:
				change(t, path, func(*api.Config) {})
			}
		}
		if got := currentOf(t, path); got != "work" {
			t.Errorf("%s: the current context is %q", name, got)
		}
		if got := text(t, path); strings.Contains(got, "fairlead.dev") || !strings.Contains(steps, "k") && got != flowing {
			t.Errorf("%s: left\n%s", name, got)
		}
	}
}

func TestAContextThatTheUserChoseStays(t *testing.T) {
	path := write(t, flowing)
	a, b := newCluster(t, "a"), newCluster(t, "b")
	a.up(path)
	b.up(path)
	change(t, path, func(c *api.Config) {
		c.Contexts["prod"] = &api.Context{Cluster: "work", AuthInfo: "work"}
		c.CurrentContext = "prod"
	})
	a.down()
	b.down()
	if got := currentOf(t, path); got != "prod" {
		t.Errorf("the current context is %q", got)
	}
}

func TestManyAtOnceLoseNothing(t *testing.T) {
	path := write(t, flowing)
	var all []cluster
	for i := range 8 {
		all = append(all, newCluster(t, fmt.Sprintf("c%d", i)))
	}
	atOnce := func(do func(cluster) error) {
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				if err := do(c); err != nil {
					t.Errorf("%s: %v", c.entry.Name, err)
				}
			})
		}
		wg.Wait()
	}
	atOnce(func(c cluster) error { _, err := me(path).Add(c.record, c.entry); return err })
	if got, err := clientcmd.LoadFromFile(path); err != nil || len(got.Contexts) != 9 || len(got.AuthInfos) != 9 || len(got.Clusters) != 9 {
		t.Errorf("%+v, %v", got, err)
	}
	atOnce(func(c cluster) error { return Remove(c.record) })
	if got := text(t, path); got != flowing {
		t.Errorf("left:\n%s", got)
	}
}

// kubectl changes a file under its lock and gives up where it is held; nothing of what it wrote may be lost.
func TestTheLockIsKubectls(t *testing.T) {
	path := write(t, flowing)
	access := clientcmd.NewDefaultPathOptions()
	access.LoadingRules.ExplicitPath = path
	add := func(name string) {
		for deadline := time.Now().Add(30 * time.Second); ; {
			c, err := clientcmd.LoadFromFile(path)
			if err == nil {
				c.Contexts[name] = &api.Context{Cluster: "work", AuthInfo: "work"}
				err = clientcmd.ModifyConfig(access, *c, false)
			}
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("kubectl: %v", err)
				return
			}
		}
	}
	held, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := clientcmd.ModifyConfig(access, *api.NewConfig(), false); err == nil {
		t.Error("kubectl changes the file under our lock")
	}
	held()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			add(fmt.Sprint("mine", i))
		}
	})
	for i := range 20 {
		c := newCluster(t, fmt.Sprint("lab", i))
		c.up(path)
		c.down()
	}
	wg.Wait()
	got, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// kubectl reads before it locks, and may bring back what was taken out meanwhile; of its own it must find everything.
	maps.DeleteFunc(got.Contexts, func(name string, _ *api.Context) bool { return strings.HasPrefix(name, "lab") })
	if len(got.Contexts) != 21 {
		t.Errorf("%d contexts, want 21: %+v", len(got.Contexts), got.Contexts)
	}
}

func TestALockOfOneThatWasKilledIsNoHindrance(t *testing.T) {
	path := write(t, flowing)
	if err := os.WriteFile(path+".lock", []byte(lockMark), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, "lab")
	c.up(path)
	c.down()
	if got := text(t, path); got != flowing {
		t.Errorf("left:\n%s", got)
	}
}

func TestAnEntryOfTheUsersIsNeitherOverwrittenNorHiddenNorTakenOut(t *testing.T) {
	mine := strings.ReplaceAll(flowing, "work", "lab")
	path, empty := write(t, mine), write(t, "")
	c := newCluster(t, "lab")
	for _, files := range [][]string{{path}, {empty, path}} {
		if _, err := me(files...).Add(c.record, c.entry); err == nil || !strings.Contains(err.Error(), "not this cluster's") || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	}
	if got := text(t, path) + text(t, empty); got != mine {
		t.Errorf("now\n%s", got)
	}
	path = write(t, flowing)
	c.up(path)
	change(t, path, func(c *api.Config) {
		c.Clusters["lab"].CertificateAuthorityData = []byte("another")
		c.AuthInfos["lab"] = &api.AuthInfo{Token: "mine"}
	})
	c.down()
	if got, err := clientcmd.LoadFromFile(path); err != nil || got.Clusters["lab"] == nil || got.Contexts["lab"] == nil || got.AuthInfos["lab"] == nil {
		t.Errorf("the user's are gone: %+v, %v", got, err)
	}
}

func TestANamespaceThatTheUserSetStaysThroughARestart(t *testing.T) {
	path := write(t, flowing)
	c := newCluster(t, "lab")
	c.up(path)
	change(t, path, func(c *api.Config) { c.Contexts["lab"].Namespace = "apps" })
	c.up(path)
	if got, err := clientcmd.LoadFromFile(path); err != nil || got.Contexts["lab"].Namespace != "apps" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAStartWithAnotherKubeconfigLeavesTheFirst(t *testing.T) {
	first, second := write(t, flowing), write(t, "")
	c := newCluster(t, "lab")
	c.up(first)
	c.up(second)
	if got := text(t, first); got != flowing {
		t.Errorf("left:\n%s", got)
	}
	c.down()
	if got := text(t, second); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func TestRemoveTakesAwayAFileAndDirectoriesItMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "config")
	c := newCluster(t, "null") // a name that YAML takes for something else
	c.up(path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: %v, %v", info, err)
	}
	if got := currentOf(t, path); got != "null" {
		t.Errorf("the current context is %q", got)
	}
	c.up(path)
	c.down()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	c.up(path)
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	c.down() // nothing is there to be taken out
}

func TestASymbolicLinkOfTheUsersStaysOne(t *testing.T) {
	real := write(t, flowing)
	path := filepath.Join(t.TempDir(), "config")
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, "lab")
	c.up(path)
	if got := currentOf(t, real); got != "lab" {
		t.Errorf("the current context is %q", got)
	}
	c.down()
	if to, err := os.Readlink(path); err != nil || to != real || text(t, real) != flowing {
		t.Errorf("%q, %v", to, err)
	}
}

func TestAddLeavesABrokenFileAlone(t *testing.T) {
	for _, broken := range []string{"{not yaml", "a: b\n---\nc: d\n", "- list\n", "clusters: 3\n", "clusters: [{name: a}, {name: a}]\n"} {
		path := write(t, broken)
		c := newCluster(t, "lab")
		if _, err := me(path).Add(c.record, c.entry); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", broken, err)
		}
		if got := text(t, path); got != broken {
			t.Errorf("now %q", got)
		}
	}
}

func TestADamagedRecordIsNamed(t *testing.T) {
	path := write(t, flowing)
	for _, damaged := range []string{"", "{", "{}", `{"path":"/x"}`} {
		c := newCluster(t, "lab")
		if err := os.WriteFile(c.record, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Remove(c.record); err == nil || !strings.Contains(err.Error(), c.record) {
			t.Errorf("%q: %v", damaged, err)
		}
		if _, err := me(path).Add(c.record, c.entry); err == nil || text(t, path) != flowing {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}
