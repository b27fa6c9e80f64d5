package apiserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	clientv3 "go.etcd.io/etcd/client/v3"

	"fairlead.dev/fairlead/apiserver/registry"
)

// portPrefix begins the keys of node ports in etcd. The value of each is the UID of the Service that has it.
const portPrefix = "/fairlead.dev/nodeports/"

// portClaims are the node ports that are taken, in etcd.
type portClaims struct{ b *backend }

var _ registry.PortClaims = portClaims{}

func portKey(port int) string { return portPrefix + strconv.Itoa(port) }

// claimPort is the claim of a port that nobody has.
func claimPort(port int, uid types.UID) (clientv3.Cmp, clientv3.Op) {
	return clientv3.Compare(clientv3.ModRevision(portKey(port)), "=", 0), clientv3.OpPut(portKey(port), string(uid))
}

// freePort ends a Service's claim of a port; one of another stays.
func freePort(port int, uid types.UID) clientv3.Op {
	return clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value(portKey(port)), "=", string(uid))}, []clientv3.Op{clientv3.OpDelete(portKey(port))}, nil)
}

// All is part of registry.PortClaims.
func (p portClaims) All(ctx context.Context) ([]registry.PortClaim, error) {
	got, err := p.b.services.Get(ctx, portPrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("node ports in etcd: %w", err)
	}
	var all []registry.PortClaim
	for _, kv := range got.Kvs {
		if port, err := strconv.Atoi(strings.TrimPrefix(string(kv.Key), portPrefix)); err == nil {
			all = append(all, registry.PortClaim{Port: port, UID: types.UID(kv.Value), Revision: kv.ModRevision})
		}
	}
	return all, nil
}

// Add is part of registry.PortClaims.
func (p portClaims) Add(ctx context.Context, port int, uid types.UID) error {
	free, claim := claimPort(port, uid)
	if _, err := p.b.services.Txn(ctx).If(free).Then(claim).Commit(); err != nil {
		return fmt.Errorf("node port %d in etcd: %w", port, err)
	}
	return nil
}

// Remove is part of registry.PortClaims.
func (p portClaims) Remove(ctx context.Context, c registry.PortClaim) error {
	same := clientv3.Compare(clientv3.ModRevision(portKey(c.Port)), "=", c.Revision)
	if _, err := p.b.services.Txn(ctx).If(same).Then(clientv3.OpDelete(portKey(c.Port))).Commit(); err != nil {
		return fmt.Errorf("node port %d in etcd: %w", c.Port, err)
	}
	return nil
}
