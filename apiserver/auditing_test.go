package apiserver_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
)

func auditPolicy(t *testing.T, rules string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// events are those of an audit log about Secrets and ConfigMaps of a name.
func events(t *testing.T, path, name string) (found []auditv1.Event) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var e auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if e.ObjectRef != nil && e.ObjectRef.Name == name {
			found = append(found, e)
		}
	}
	return found
}

func TestAuditLog(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.Audit = apiserver.Audit{Policy: auditPolicy(t, `- level: Metadata
  omitStages: [RequestReceived]
  resources: [{resources: [secrets]}]
- level: RequestResponse
  omitStages: [RequestReceived]
  resources: [{resources: [configmaps]}]
- level: None
`), Log: filepath.Join(t.TempDir(), "audit", "audit.log")}
	server, stop := apitest.Run(t, cfg)
	makeSecret(t, server.ClientConfig(), "s")
	client := clientOf(t, as(t, cfg, "alice", "system:masters"))
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("c"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := clientOf(t, as(t, cfg, "mallory")).CoreV1().Secrets("default").Get(t.Context(), "s", metav1.GetOptions{}); err == nil {
		t.Fatal("mallory reads a secret")
	}
	stop()
	about := events(t, cfg.Audit.Log, "s")
	if len(about) != 2 || about[0].Verb != "create" || about[0].RequestObject != nil || about[1].User.Username != "mallory" || about[1].ResponseStatus.Code != 403 {
		t.Errorf("of the secret: %+v", about)
	}
	if about = events(t, cfg.Audit.Log, "c"); len(about) != 1 || about[0].User.Username != "alice" || about[0].ResponseObject == nil || about[0].ResponseStatus.Code != 201 {
		t.Errorf("of the config map: %+v", about)
	}
	if text, _ := os.ReadFile(cfg.Audit.Log); strings.Contains(string(text), confidential) || strings.Contains(string(text), `"namespaces"`) {
		t.Error("the log has what no rule asks for")
	}
	if info, err := os.Stat(cfg.Audit.Log); err != nil || info.Mode() != 0o600 {
		t.Errorf("the log: %v, %v", info, err)
	}
}

// TestAuditLogIsBounded: a log that has reached its size is put aside, and the oldest goes.
func TestAuditLogIsBounded(t *testing.T) {
	one := 1
	cfg := apitest.Config(t, t.TempDir())
	cfg.Audit = apiserver.Audit{Policy: auditPolicy(t, "- {level: RequestResponse, resources: [{resources: [configmaps]}]}\n"), Log: filepath.Join(t.TempDir(), "audit.log"),
		MaxSize: &one, MaxBackups: &one, MaxAge: &one}
	server, stop := apitest.Run(t, cfg)
	client := clientOf(t, server.ClientConfig())
	big := configMap("big")
	big.Data["k"] = strings.Repeat("x", 400_000)
	for range 8 {
		if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), big, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := client.CoreV1().ConfigMaps("default").Delete(t.Context(), "big", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	eventually(t, "one old file is left beside the log", func() bool {
		files, err := os.ReadDir(filepath.Dir(cfg.Audit.Log))
		return err == nil && len(files) == 2
	})
}

func TestBrokenAuditPolicyIsRefused(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.Audit.Log = filepath.Join(t.TempDir(), "audit.log")
	if err := refused(t, cfg); !strings.Contains(err.Error(), "there is no audit-policy-file") {
		t.Errorf("no policy: %v", err)
	}
	for rules, want := range map[string]string{
		"- level: Metadata\n- level: Everything\n": ":5: ",
		"- level: Metadata\n  resuorces: []\n":     ":5: ",
		"- level: [\n":                             ":",
		"":                                         ":",
	} {
		cfg.Audit.Policy = auditPolicy(t, rules)
		if err := refused(t, cfg); !strings.Contains(err.Error(), cfg.Audit.Policy+want) {
			t.Errorf("%q: %v", rules, err)
		}
	}
	cfg.Audit.Policy = filepath.Join(t.TempDir(), "none.yaml")
	if err := refused(t, cfg); !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("no file: %v", err)
	}
}
