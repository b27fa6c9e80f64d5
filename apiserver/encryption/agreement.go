package encryption

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/storage/value"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// sampleKey is where a text lies in etcd that is encrypted as Secrets are. Who can read it can read them.
	sampleKey = "/fairlead/encryption"
	// sample is the text.
	sample = "who can read this can read the Secrets of this cluster"
	// patience bounds asking etcd.
	patience = 10 * time.Second
)

// Encrypted reports whether somebody has written Secrets into an etcd, or was about to.
func Encrypted(ctx context.Context, etcd *clientv3.Client) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := etcd.Get(ctx, sampleKey, clientv3.WithCountOnly())
	if err != nil {
		return false, fmt.Errorf("encryption: ask etcd: %w", err)
	}
	return found.Count > 0, nil
}

// Agree refuses keys that cannot read what others have written into an etcd. Who is first there leaves what the next are tried by.
func (k *Keys) Agree(ctx context.Context, etcd *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	secrets := k.TransformerForResource(corev1.Resource("secrets"))
	mine, err := secrets.TransformToStorage(ctx, []byte(sample), value.DefaultContext(sampleKey))
	if err != nil {
		return fmt.Errorf("encryption: %s: %w", k.path, err)
	}
	answer, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(sampleKey), "=", 0)).
		Then(clientv3.OpPut(sampleKey, string(mine))).Else(clientv3.OpGet(sampleKey)).Commit()
	if err != nil {
		return fmt.Errorf("encryption: ask etcd: %w", err)
	}
	if answer.Succeeded {
		return nil
	}
	there := answer.Responses[0].GetResponseRange().Kvs[0]
	text, stale, err := secrets.TransformFromStorage(ctx, there.Value, value.DefaultContext(sampleKey))
	if err == nil && string(text) != sample {
		err = fmt.Errorf("what is in etcd at %s is not what was written", sampleKey)
	}
	if err != nil {
		return fmt.Errorf("encryption: Secrets in etcd are encrypted %s, and %s has no such key: add it there, from the file of the control plane that wrote them or from a backup: %w",
			header(there.Value), k.path, err)
	}
	if stale {
		_, err = etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(sampleKey), "=", there.ModRevision)).Then(clientv3.OpPut(sampleKey, string(mine))).Commit()
	}
	return err
}

// header is what is said before an encrypted text of how it is: by which method and with the key of which name.
func header(stored []byte) string {
	parts := bytes.SplitN(stored, []byte(":"), 6)
	if len(parts) < 6 || string(parts[0]) != "k8s" {
		return "not at all"
	}
	return fmt.Sprintf("by %s with key %q", parts[2], parts[4])
}
