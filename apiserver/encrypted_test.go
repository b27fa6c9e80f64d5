package apiserver_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
)

const confidential = "the bear dances at midnight"

func makeSecret(t *testing.T, config *rest.Config, name string) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"k": []byte(confidential)}}
	if _, err := clientOf(t, config).CoreV1().Secrets("default").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func readSecret(t *testing.T, config *rest.Config, name string) {
	t.Helper()
	s, err := clientOf(t, config).CoreV1().Secrets("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || string(s.Data["k"]) != confidential {
		t.Fatalf("secret %s: %v, %v", name, s.Data, err)
	}
}

// stored is a Secret as it is in etcd.
func stored(t *testing.T, etcd *embed.Etcd, name string) string {
	t.Helper()
	c := v3client.New(etcd.Server)
	defer c.Close()
	found, err := c.Get(t.Context(), "/registry/secrets/default/"+name)
	if err != nil || len(found.Kvs) != 1 {
		t.Fatalf("secret %s in etcd: %v, %v", name, found, err)
	}
	return string(found.Kvs[0].Value)
}

// filesWith are the files below a directory that hold a text.
func filesWith(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// keysFile writes a file that has Secrets encrypted by the first of some providers.
func keysFile(t *testing.T, providers ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	writeKeys(t, path, providers...)
	return path
}

func writeKeys(t *testing.T, path string, providers ...string) {
	t.Helper()
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n"
	for _, p := range providers {
		text += "  - " + p + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func provider(kind, name, key string) string {
	return fmt.Sprintf("%s: {keys: [{name: %s, secret: %s}]}", kind, name, base64.StdEncoding.EncodeToString([]byte(key)))
}

const key32 = "0123456789abcdef0123456789abcdef"

// refused is the error of a server that does not start.
func refused(t *testing.T, cfg apiserver.Config) error {
	t.Helper()
	server, err := apiserver.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := server.Run(ctx); err != nil {
		return err
	}
	t.Fatal("the server starts")
	return nil
}

// running starts a server, and returns what it ends with, once it is ready.
func running(t *testing.T, cfg apiserver.Config) <-chan error {
	t.Helper()
	server, err := apiserver.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(t.Context()) }()
	select {
	case <-server.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	return ended
}

func TestSecretsAreEncrypted(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	makeSecret(t, server.ClientConfig(), "s")
	open := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "open"}, Data: map[string]string{"k": "nobody minds"}}
	if _, err := clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("default").Create(t.Context(), open, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stop()
	if files := filesWith(t, cfg.DataDir, confidential); len(files) > 0 {
		t.Errorf("the secret is in %v", files)
	}
	if files := filesWith(t, cfg.DataDir, "nobody minds"); len(files) == 0 {
		t.Error("what is no secret is nowhere either: the test looks in the wrong place")
	}
	info, err := os.Stat(filepath.Join(cfg.DataDir, "encryption.yaml"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file of the key: %v, %v", info, err)
	}
	server, stop = apitest.Run(t, cfg)
	readSecret(t, server.ClientConfig(), "s")
	stop()
	if err := os.Remove(filepath.Join(cfg.DataDir, "encryption.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, cfg); !strings.Contains(err.Error(), "encryption.yaml, which held the key, is missing") {
		t.Errorf("without the key: %v", err)
	}
}

// TestOlderSecrets: what was written before there was encryption is read, and written again in the background, and so is what a
// key encrypted that is no longer the first.
func TestOlderSecrets(t *testing.T) {
	etcd, at := externalEtcd(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.EtcdServers, cfg.Encryption = []string{at}, keysFile(t, "identity: {}")
	server, stop := apitest.Run(t, cfg)
	for i := range 60 { // more than are read at once
		makeSecret(t, server.ClientConfig(), fmt.Sprintf("s%d", i))
	}
	if text := stored(t, etcd, "s0"); !strings.Contains(text, confidential) {
		t.Fatalf("with encryption off: %q", text)
	}
	stop()
	for _, step := range []struct {
		prefix string
		file   string
	}{
		{"k8s:enc:secretbox:v1:a:", keysFile(t, provider("secretbox", "a", key32), "identity: {}")},
		{"k8s:enc:aescbc:v1:b:", keysFile(t, provider("aescbc", "b", key32), provider("secretbox", "a", key32))},
		{"k8s:enc:aesgcm:v1:c:", keysFile(t, provider("aesgcm", "c", key32), provider("aescbc", "b", key32))},
		{"k8s\x00", keysFile(t, "identity: {}", provider("aesgcm", "c", key32))},
	} {
		cfg.Encryption = step.file
		server, stop := apitest.Run(t, cfg)
		readSecret(t, server.ClientConfig(), "s59")
		eventually(t, "all are "+step.prefix, func() bool {
			return strings.HasPrefix(stored(t, etcd, "s0"), step.prefix) && strings.HasPrefix(stored(t, etcd, "s59"), step.prefix)
		})
		readSecret(t, server.ClientConfig(), "s0")
		stop()
	}
}

// TestControlPlanesNeedTheSameKey: one that cannot read what another has written into an etcd writes nothing there.
func TestControlPlanesNeedTheSameKey(t *testing.T) {
	etcd, at := externalEtcd(t)
	first := apitest.Config(t, t.TempDir())
	first.EtcdServers = []string{at}
	server, stop := apitest.Run(t, first)
	makeSecret(t, server.ClientConfig(), "s")
	if text := stored(t, etcd, "s"); !strings.HasPrefix(text, "k8s:enc:aesgcm:v1:k") {
		t.Fatalf("in etcd: %q", text)
	}
	stop()
	second := apitest.Config(t, t.TempDir())
	second.EtcdServers = first.EtcdServers
	if err := refused(t, second); !strings.Contains(err.Error(), "copy it from the data directory of the control plane that wrote them") {
		t.Errorf("without a key: %v", err)
	}
	second.Encryption = keysFile(t, provider("aesgcm", "mine", key32), "identity: {}")
	if err := refused(t, second); !strings.Contains(err.Error(), `by aesgcm with key "k`) || !strings.Contains(err.Error(), second.Encryption+" has no such key") {
		t.Errorf("with another key: %v", err)
	}
	second.Encryption = filepath.Join(first.DataDir, "encryption.yaml")
	server, _ = apitest.Run(t, second)
	readSecret(t, server.ClientConfig(), "s")
}

func TestBrokenEncryptionFileIsRefused(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.Encryption = filepath.Join(t.TempDir(), "keys.yaml")
	if err := refused(t, cfg); !strings.Contains(err.Error(), cfg.Encryption) {
		t.Errorf("no file: %v", err)
	}
	for providers, want := range map[string]string{
		"identity: {}\n  nonsense: 1":                ":7: ",
		"identity: {}\n  - aesgmc: {}":               ":7: ",
		provider("secretbox", "a", "short"):          ":6: ",
		"identity: {}\n  - secretbox: {keys: []}":    ":7: ",
		"identity: {}\n  - aescbc: {keys: [{name: a": ":",
	} {
		writeKeys(t, cfg.Encryption, providers)
		if err := refused(t, cfg); !strings.Contains(err.Error(), cfg.Encryption+want) {
			t.Errorf("%s: %v", providers, err)
		}
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "etcd")); err == nil {
		t.Error("a store was made before the file was read")
	}
}
