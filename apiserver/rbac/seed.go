package rbac

import (
	"context"
	"fmt"
	"path"

	clientv3 "go.etcd.io/etcd/client/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage/value"
)

// kept is an object of the policy.
type kept interface {
	runtime.Object
	metav1.Object
}

// Seed writes a policy to a store that has no cluster roles, in two transactions, which costs a start a few milliseconds, where a
// request for each object would cost a tenth of a second. Cluster roles come last: where there are some, all is there. Whoever writes
// at the same time wins or loses a transaction as a whole. What is not written for whatever reason is left to Reconcile.
//
// No watch cache may be filling itself meanwhile: who lists what it has of a transaction's objects, and watches from there, never
// learns of the others, which are of the same revision.
func Seed(ctx context.Context, etcd clientv3.KV, options generic.RESTOptionsGetter, p Policy) error {
	codecs, err := codecs(options)
	if err != nil {
		return err
	}
	roles := codecs["clusterroles"].key("", "") + "/"
	there, err := etcd.Get(ctx, roles, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("%s: %w", roles, err)
	}
	if there.Count > 0 {
		return nil
	}
	now := metav1.Now()
	for _, resources := range [][]string{{"roles", "rolebindings", "clusterrolebindings"}, {"clusterroles"}} {
		var writes []write
		for _, resource := range resources {
			for _, obj := range p.objects(resource) {
				w, err := codecs[resource].write(ctx, obj, now)
				if err != nil {
					return err
				}
				writes = append(writes, w)
			}
		}
		if err := commit(ctx, etcd, writes); err != nil {
			return err
		}
	}
	return nil
}

// objects are those of a policy that are of a resource.
func (p *Policy) objects(resource string) []kept {
	switch resource {
	case "clusterroles":
		return pointers(p.ClusterRoles)
	case "clusterrolebindings":
		return pointers(p.ClusterRoleBindings)
	case "roles":
		return pointers(p.Roles)
	}
	return pointers(p.RoleBindings)
}

func pointers[T any, P interface {
	*T
	kept
}](of []T) []kept {
	all := make([]kept, len(of))
	for i := range of {
		all[i] = P(&of[i])
	}
	return all
}

// codec is how objects of a resource are stored.
type codec struct{ generic.RESTOptions }

func codecs(options generic.RESTOptionsGetter) (map[string]codec, error) {
	all := map[string]codec{}
	for resource, example := range map[string]runtime.Object{
		"clusterroles": &rbacv1.ClusterRole{}, "clusterrolebindings": &rbacv1.ClusterRoleBinding{}, "roles": &rbacv1.Role{}, "rolebindings": &rbacv1.RoleBinding{},
	} {
		o, err := options.GetRESTOptions(schema.GroupResource{Group: rbacv1.GroupName, Resource: resource}, example)
		if err != nil {
			return nil, fmt.Errorf("storage of %s: %w", resource, err)
		}
		all[resource] = codec{o}
	}
	return all, nil
}

// write is a key and what it is to have.
type write struct{ key, value string }

// key is where an object is stored.
func (c codec) key(namespace, name string) string {
	return path.Join("/", c.StorageConfig.Prefix, c.ResourcePrefix, namespace, name)
}

// write is an object as the API would store it when it is created.
func (c codec) write(ctx context.Context, of kept, now metav1.Time) (write, error) {
	obj := of.DeepCopyObject().(kept)
	obj.SetUID(uuid.NewUUID())
	obj.SetCreationTimestamp(now)
	w := write{key: c.key(obj.GetNamespace(), obj.GetName())}
	data, err := runtime.Encode(c.StorageConfig.Codec, obj)
	if err == nil && c.StorageConfig.Transformer != nil {
		data, err = c.StorageConfig.Transformer.TransformToStorage(ctx, data, value.DefaultContext(w.key))
	}
	if err != nil {
		return w, fmt.Errorf("%s: %w", w.key, err)
	}
	w.value = string(data)
	return w, nil
}

// commit writes all or, where one of them is there, none.
func commit(ctx context.Context, etcd clientv3.KV, writes []write) error {
	if len(writes) == 0 {
		return nil
	}
	var absent []clientv3.Cmp
	var puts []clientv3.Op
	for _, w := range writes {
		absent = append(absent, clientv3.Compare(clientv3.CreateRevision(w.key), "=", 0))
		puts = append(puts, clientv3.OpPut(w.key, w.value))
	}
	if _, err := etcd.Txn(ctx).If(absent...).Then(puts...).Commit(); err != nil {
		return fmt.Errorf("%s and %d more: %w", writes[0].key, len(writes)-1, err)
	}
	return nil
}
