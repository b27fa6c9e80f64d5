package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A path that was typed is meant from where it was typed, and stays so when the cluster is started again from elsewhere.
func TestPathsOfFiles(t *testing.T) {
	here, dir := t.TempDir(), t.TempDir()
	t.Chdir(here)
	s, err := Resolve(Config{DataDir: dir, APIServer: APIServer{EncryptionConfig: "keys.yaml"}})
	if want := filepath.Join(here, "keys.yaml"); err != nil || s.EncryptionConfig != want {
		t.Fatalf("%q, %v, want %q", s.EncryptionConfig, err, want)
	}
	t.Chdir(dir)
	again, err := Resume(Config{DataDir: dir}, s.Config)
	if err != nil || again.EncryptionConfig != s.EncryptionConfig {
		t.Errorf("again: %q, %v", again.EncryptionConfig, err)
	}
	off, err := Resume(Config{DataDir: dir, APIServer: APIServer{EncryptionConfig: None}}, s.Config)
	if err != nil || Path(off.EncryptionConfig) != "" {
		t.Errorf("taken back: %q, %v", off.EncryptionConfig, err)
	}
	if _, err := Resolve(Config{DataDir: dir, APIServer: APIServer{AuditLogPath: "/log"}}); err == nil || !strings.Contains(err.Error(), "audit-policy-file") {
		t.Errorf("a log without a policy: %v", err)
	}
	if on := (Config{DataDir: dir, APIServer: APIServer{AuditPolicyFile: "/policy"}}); on.AuditLog() != filepath.Join(dir, "audit/audit.log") {
		t.Errorf("the log is %q", on.AuditLog())
	}
	if off := (Config{DataDir: dir, APIServer: APIServer{AuditPolicyFile: None, AuditLogPath: "/log"}}); off.AuditLog() != "" {
		t.Errorf("without a policy the log is %q", off.AuditLog())
	}
	if err := os.WriteFile("config.yaml", []byte("encryptionConfig: keys.yaml\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), `encryption-config "keys.yaml": must be an absolute path`) {
		t.Errorf("in the file: %v", err)
	}
}
