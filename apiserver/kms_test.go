package apiserver_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kms "k8s.io/kms/pkg/service"

	"fairlead.dev/fairlead/internal/apitest"
)

// keyServer is a plugin of KMS version 2 that has its key in memory.
type keyServer struct {
	aead  cipher.AEAD
	gone  atomic.Bool // it answers no more
	asked atomic.Int32
}

func (k *keyServer) ready() error {
	if k.gone.Load() {
		return errors.New("the key server has lost its key")
	}
	return nil
}

// Status is part of service.Service.
func (k *keyServer) Status(context.Context) (*kms.StatusResponse, error) {
	return &kms.StatusResponse{Version: "v2", Healthz: "ok", KeyID: "one"}, k.ready()
}

// Encrypt is part of service.Service.
func (k *keyServer) Encrypt(_ context.Context, _ string, data []byte) (*kms.EncryptResponse, error) {
	k.asked.Add(1)
	nonce := make([]byte, k.aead.NonceSize())
	_, err := rand.Read(nonce)
	return &kms.EncryptResponse{Ciphertext: k.aead.Seal(nonce, nonce, data, nil), KeyID: "one"}, errors.Join(err, k.ready())
}

// Decrypt is part of service.Service.
func (k *keyServer) Decrypt(_ context.Context, _ string, r *kms.DecryptRequest) ([]byte, error) {
	k.asked.Add(1)
	if err := k.ready(); err != nil {
		return nil, err
	}
	if r.KeyID != "one" || len(r.Ciphertext) < k.aead.NonceSize() {
		return nil, errors.New("not encrypted here")
	}
	return k.aead.Open(nil, r.Ciphertext[:k.aead.NonceSize()], r.Ciphertext[k.aead.NonceSize():], nil)
}

// serveKeys runs a key server at a socket.
func serveKeys(t *testing.T) (k *keyServer, socket string) {
	t.Helper()
	block, err := aes.NewCipher([]byte(key32))
	if err != nil {
		t.Fatal(err)
	}
	k = &keyServer{}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "kms.sock")
	server := kms.NewGRPCService(socket, 10*time.Second, k)
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return k, socket
}

// TestSecretsAreEncryptedByAKeyServer: a plugin of KMS version 2 behind a socket has the key; its word is asked once for many Secrets; what it
// encrypted is read after a restart, and by nobody who cannot ask it.
func TestSecretsAreEncryptedByAKeyServer(t *testing.T) {
	keys, socket := serveKeys(t)
	etcd, at := externalEtcd(t)
	cfg := apitest.Config(t, t.TempDir())
	provider := "kms: {apiVersion: v2, name: keys, endpoint: 'unix://" + socket + "', timeout: 3s}"
	cfg.EtcdServers, cfg.Encryption = []string{at}, keysFile(t, provider, "identity: {}")
	server, stop := apitest.Run(t, cfg)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		makeSecret(t, server.ClientConfig(), name)
	}
	if asked := keys.asked.Load(); asked > 6 {
		t.Errorf("the key server was asked %d times for 8 secrets: each has a key of its own below one of the plugin's", asked)
	}
	if text := stored(t, etcd, "a"); !strings.HasPrefix(text, "k8s:enc:kms:v2:keys:") || strings.Contains(text, confidential) {
		t.Errorf("in etcd: %q", text)
	}
	stop()
	server, stop = apitest.Run(t, cfg)
	readSecret(t, server.ClientConfig(), "a")
	stop()
	keys.gone.Store(true)
	if err := refused(t, cfg); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("without the key server's answer: %v", err)
	}
	keys.gone.Store(false)
	server, _ = apitest.Run(t, cfg)
	readSecret(t, server.ClientConfig(), "h")
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "later"}}
	if _, err := clientOf(t, server.ClientConfig()).CoreV1().Secrets("default").Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Errorf("when it answers again: %v", err)
	}
}
