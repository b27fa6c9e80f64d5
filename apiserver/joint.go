package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/value"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"

	"fairlead.dev/fairlead/apiserver/registry"
)

var (
	servicesResource    = schema.GroupResource{Resource: "services"}
	ipAddressesResource = networkingv1.Resource("ipaddresses")
)

// written is how the objects of a resource are written.
type written struct {
	config *storagebackend.ConfigForResource
	prefix string // of their keys
}

// put is the write of an object, which is encrypted as its resource is.
func (w *written) put(ctx context.Context, name string, obj runtime.Object) (clientv3.Op, error) {
	data, err := runtime.Encode(w.config.Codec, obj)
	if err != nil {
		return clientv3.Op{}, err
	}
	key := w.prefix + name
	if data, err = w.config.Transformer.TransformToStorage(ctx, data, value.DefaultContext(key)); err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpPut(key, string(data)), nil
}

// joint is how the storage of Services writes: in one transaction with the IPAddress objects of the Service's addresses, and the claims
// of its node ports.
type joint struct {
	kubernetes.Client
	b *backend
}

// OptimisticPut is part of kubernetes.Interface.
func (j joint) OptimisticPut(ctx context.Context, key string, value []byte, expected int64, options kubernetes.PutOptions) (kubernetes.PutResponse, error) {
	a := registry.AlongsideOf(ctx)
	if a.Empty() {
		return j.Client.OptimisticPut(ctx, key, value, expected, options)
	}
	var answer kubernetes.PutResponse
	got, err := j.commit(ctx, key, expected, clientv3.OpPut(key, string(value), clientv3.WithLease(options.LeaseID)), a)
	if err != nil {
		return answer, err
	}
	answer.Succeeded, answer.Revision = got.Succeeded, got.Header.Revision
	if kvs := found(got); options.GetOnFailure && len(kvs) > 0 {
		answer.KV = kvs[0]
	}
	return answer, nil
}

// OptimisticDelete is part of kubernetes.Interface.
func (j joint) OptimisticDelete(ctx context.Context, key string, expected int64, options kubernetes.DeleteOptions) (kubernetes.DeleteResponse, error) {
	a := registry.AlongsideOf(ctx)
	if a.Empty() {
		return j.Client.OptimisticDelete(ctx, key, expected, options)
	}
	var answer kubernetes.DeleteResponse
	got, err := j.commit(ctx, key, expected, clientv3.OpDelete(key), a)
	if err != nil {
		return answer, err
	}
	answer.Succeeded, answer.Revision = got.Succeeded, got.Header.Revision
	if kvs := found(got); options.GetOnFailure && len(kvs) > 0 {
		answer.KV = kvs[0]
	}
	return answer, nil
}

// commit carries out op on a key of an expected revision, and what goes along with it, or nothing of all that.
func (j joint) commit(ctx context.Context, key string, expected int64, op clientv3.Op, a *registry.Alongside) (*clientv3.TxnResponse, error) {
	addresses := j.b.addresses
	if addresses == nil {
		return nil, registry.NotWritten{Why: errors.New("the storage of IPAddresses is not there yet: try again")}
	}
	then, otherwise, condition, err := j.parts(ctx, key, expected, op, a, addresses)
	if err != nil {
		return nil, registry.NotWritten{Why: fmt.Errorf("numbers of a Service: %w", err)}
	}
	answer, err := j.KV.Txn(ctx).If(condition...).Then(then...).Else(otherwise...).Commit()
	if err != nil || answer.Succeeded {
		return answer, err
	}
	return answer, j.taken(answer, expected, a)
}

// parts are what the transaction consists of.
func (j joint) parts(ctx context.Context, key string, expected int64, op clientv3.Op, a *registry.Alongside, addresses *written) (then, otherwise []clientv3.Op, condition []clientv3.Cmp, err error) {
	then, otherwise = []clientv3.Op{op}, []clientv3.Op{clientv3.OpGet(key)}
	condition = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", expected)}
	for _, name := range a.Gone {
		then = append(then, clientv3.OpDelete(addresses.prefix+name))
	}
	for _, ip := range a.Put {
		put, err := addresses.put(ctx, ip.Name, ip)
		if err != nil {
			return nil, nil, nil, err
		}
		then = append(then, put)
		otherwise = append(otherwise, clientv3.OpGet(addresses.prefix+ip.Name, clientv3.WithKeysOnly()))
		condition = append(condition, clientv3.Compare(clientv3.ModRevision(addresses.prefix+ip.Name), "=", 0))
	}
	for _, port := range a.Claim {
		free, claim := claimPort(port, a.Owner)
		then, condition = append(then, claim), append(condition, free)
		otherwise = append(otherwise, clientv3.OpGet(portKey(port), clientv3.WithKeysOnly()))
	}
	for _, port := range a.Free {
		then = append(then, freePort(port, a.Owner))
	}
	return then, otherwise, condition, nil
}

// found are the key values that the first answer of a failed transaction has.
func found(answer *clientv3.TxnResponse) []*mvccpb.KeyValue {
	if answer.Succeeded || len(answer.Responses) == 0 {
		return nil
	}
	return answer.Responses[0].GetResponseRange().Kvs
}

// taken is why a transaction came to nothing whose Service was as expected: a number is taken, and the server does not know.
func (joint) taken(answer *clientv3.TxnResponse, expected int64, a *registry.Alongside) error {
	revision := int64(0)
	if kvs := found(answer); len(kvs) > 0 {
		revision = kvs[0].ModRevision
	}
	if revision != expected {
		return nil // the caller sees to that
	}
	var names []string
	for _, ip := range a.Put {
		names = append(names, ip.Name)
	}
	for _, port := range a.Claim {
		names = append(names, strconv.Itoa(port))
	}
	for i, name := range names {
		if answer.Responses[i+1].GetResponseRange().Count > 0 {
			return registry.NewTakenElsewhere(name)
		}
	}
	return nil
}
