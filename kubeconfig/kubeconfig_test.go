package kubeconfig

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

var entry = Entry{Name: "lab", Server: "https://192.0.2.1:6443", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}

const users = `# mine, with a comment that must survive
apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: "https://192.0.2.9"}}]
contexts: [{name: work, context: {cluster: work, user: work}}]
users: [{name: work, user: {token: t}}]
current-context: work
`

func TestAddAndRemoveRestoreTheFileByteForByte(t *testing.T) {
	dir := t.TempDir()
	path, record := filepath.Join(dir, "config"), filepath.Join(dir, "record")
	if err := os.WriteFile(path, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // started twice, as after a crash
		if err := Add(path, record, entry); err != nil {
			t.Fatal(err)
		}
	}
	got, err := clientcmd.LoadFromFile(path)
	if err != nil || got.CurrentContext != "lab" || got.Contexts["work"] == nil {
		t.Fatalf("merged: %+v, %v", got, err)
	}
	if err := Remove(record); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != users {
		t.Errorf("the file is not what it was:\n%s", text)
	}
	if _, err := os.Stat(record); err == nil {
		t.Error("the record stayed")
	}
}

func TestRemoveKeepsWhatTheUserChangedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path, record := filepath.Join(dir, "config"), filepath.Join(dir, "record")
	if err := Add(path, record, entry); err != nil {
		t.Fatal(err)
	}
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	Entry{Name: "other", Server: "https://192.0.2.2"}.addTo(c)
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	if err := Remove(record); err != nil {
		t.Fatal(err)
	}
	c, err = clientcmd.LoadFromFile(path)
	if err != nil || c.Contexts["lab"] != nil || c.Contexts["other"] == nil || c.CurrentContext != "other" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestRemoveTakesAwayAFileAndDirectoryItMade(t *testing.T) {
	dir := t.TempDir()
	path, record := filepath.Join(dir, ".kube", "config"), filepath.Join(dir, "record")
	if err := Add(path, record, entry); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: %v, %v", info, err)
	}
	if err := Remove(record); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("the directory stayed")
	}
}

func TestAddLeavesABrokenFileAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte("{not yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Add(path, filepath.Join(dir, "record"), entry); err == nil {
		t.Error("a broken kubeconfig was overwritten")
	}
	if text, _ := os.ReadFile(path); string(text) != "{not yaml" {
		t.Errorf("now %q", text)
	}
}
