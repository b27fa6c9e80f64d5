package encryption

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage/value"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// page is how many objects are read at once.
const page = 50

// Renew writes again what is not encrypted as it would be now: what is older than the encryption, or than the first key of the
// file. kept says below which key of etcd the objects of a resource are. Each object is written only if nobody has changed it since
// it was read, and only while room says that there is some. What cannot be read is left alone and is the error.
func (k *Keys) Renew(ctx context.Context, etcd *clientv3.Client, kept map[schema.GroupResource]string, room func() error) (renewed int, err error) {
	for _, r := range slices.SortedFunc(maps.Keys(kept), byName) {
		if !k.covers(r) {
			continue
		}
		from, end := kept[r]+"/", clientv3.GetPrefixRangeEnd(kept[r]+"/")
		for from != "" {
			found, failed := etcd.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page))
			if failed != nil {
				return renewed, fmt.Errorf("encryption: read %s: %w", r, failed)
			}
			from = ""
			for _, object := range found.Kvs {
				if failed := room(); failed != nil {
					return renewed, fmt.Errorf("encryption: %s: %w", object.Key, failed)
				}
				wrote, failed := renew(ctx, etcd, k.TransformerForResource(r), string(object.Key), object.Value, object.ModRevision)
				if failed != nil && err == nil {
					err = failed
				}
				if wrote {
					renewed++
				}
				if found.More {
					from = string(object.Key) + "\x00"
				}
			}
		}
	}
	return renewed, err
}

func byName(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) }

// renew writes one object again, if it is in an older form.
func renew(ctx context.Context, etcd *clientv3.Client, by value.Transformer, key string, stored []byte, revision int64) (wrote bool, err error) {
	text, stale, err := by.TransformFromStorage(ctx, stored, value.DefaultContext(key))
	if err != nil {
		return false, fmt.Errorf("encryption: %s, encrypted %s, cannot be read: %w", key, header(stored), err)
	}
	if !stale {
		return false, nil
	}
	now, err := by.TransformToStorage(ctx, text, value.DefaultContext(key))
	if err != nil {
		return false, fmt.Errorf("encryption: %s: %w", key, err)
	}
	answer, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(clientv3.OpPut(key, string(now), clientv3.WithIgnoreLease())).Commit()
	if err != nil {
		return false, fmt.Errorf("encryption: write %s: %w", key, err)
	}
	return answer.Succeeded, nil
}
