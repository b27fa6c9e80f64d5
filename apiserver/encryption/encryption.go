// Package encryption is what objects are encrypted with on their way to etcd: keys in a file of Kubernetes' EncryptionConfiguration,
// the proof that all who write into one etcd can read each other, and the writing again of what lies there in an older form.
package encryption

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"k8s.io/apiserver/pkg/storage/value"

	"fairlead.dev/fairlead/apiserver/configfile"
	"fairlead.dev/fairlead/internal/durable"
)

// OwnFile is the name of the file that a cluster makes for itself in its data directory.
const OwnFile = "encryption.yaml"

// own has Secrets encrypted with a key, and read as they are where they were written before there was one.
const own = `# The key that Secrets are encrypted with in etcd. Without this file they cannot be read: keep a copy of it, apart from those of etcd.
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm:
      keys:
      - name: %s
        secret: %s
  - identity: {}
`

// MakeOwn writes a file with a key that nobody has had before. The key's name is random, too, so that objects tell by which of
// several keys they are encrypted.
func MakeOwn(path string) error {
	random := make([]byte, 4+32)
	rand.Read(random) // never fails
	text := fmt.Sprintf(own, "k"+hex.EncodeToString(random[:4]), base64.StdEncoding.EncodeToString(random[4:]))
	return durable.WriteFile(path, []byte(text), 0o600)
}

// Keys are the keys of a file, and which resources are encrypted with which.
type Keys struct {
	path    string
	server  string // of whom the metrics speak
	loaded  *encryptionconfig.EncryptionConfiguration
	dynamic *encryptionconfig.DynamicTransformers
}

// Check refuses a file that Load would refuse.
func Check(ctx context.Context, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err := Load(ctx, path, "")
	return err
}

// Load reads the file at path. Connections to services that keep keys last until ctx ends.
func Load(ctx context.Context, path, server string) (*Keys, error) {
	ctx, cancel := context.WithCancel(ctx)
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, path, true, server)
	if err != nil {
		cancel()
		if text, unread := os.ReadFile(path); unread == nil && len(text) == 0 {
			err = errors.New("the file is empty")
		}
		return nil, fmt.Errorf("encryption configuration: %w", configfile.Wrong(path, err))
	}
	return &Keys{path: path, server: server, loaded: loaded,
		dynamic: encryptionconfig.NewDynamicTransformers(loaded.Transformers, loaded.HealthChecks[0], cancel, loaded.KMSCloseGracePeriod)}, nil
}

// Follow takes over what changes in the file, until ctx ends. A file that became wrong is told of and changes nothing.
func (k *Keys) Follow(ctx context.Context) {
	controller.NewDynamicEncryptionConfiguration("encryption", k.path, k.dynamic, k.loaded.EncryptionFileContentHash, k.server).Run(ctx)
}

// Name is part of healthz.HealthChecker.
func (k *Keys) Name() string { return k.dynamic.Name() }

// Check is part of healthz.HealthChecker: whether the services that keep keys answer.
func (k *Keys) Check(r *http.Request) error { return k.dynamic.Check(r) }

// TransformerForResource is part of value.ResourceTransformers.
func (k *Keys) TransformerForResource(of schema.GroupResource) value.Transformer {
	return k.dynamic.TransformerForResource(of)
}

// covers reports whether the file says something of a resource.
func (k *Keys) covers(r schema.GroupResource) bool {
	for _, of := range []schema.GroupResource{r, {Group: r.Group, Resource: "*"}, {Group: "*", Resource: "*"}} {
		if k.loaded.Transformers[of] != nil {
			return true
		}
	}
	return false
}

// Missing reports whether there is no file at path.
func Missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
