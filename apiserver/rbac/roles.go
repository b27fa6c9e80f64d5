package rbac

import (
	"context"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	upstream "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
)

// aggregators is how many aggregated roles are filled at once.
const aggregators = 1

// Access decides by the roles and bindings that there are.
type Access struct {
	*upstream.RBACAuthorizer
	client     kubernetes.Interface
	informers  informers.SharedInformerFactory
	aggregator *clusterroleaggregation.ClusterRoleAggregationController
	synced     []cache.DoneChecker
}

// New returns what decides by the caches of a factory, which the caller starts. Until they are filled nobody may do anything.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory) *Access {
	in := shared.Rbac().V1()
	a := &Access{client: client, informers: shared}
	a.RBACAuthorizer = upstream.New(
		&upstream.RoleGetter{Lister: in.Roles().Lister()}, &upstream.RoleBindingLister{Lister: in.RoleBindings().Lister()},
		&upstream.ClusterRoleGetter{Lister: in.ClusterRoles().Lister()}, &upstream.ClusterRoleBindingLister{Lister: in.ClusterRoleBindings().Lister()},
	)
	for _, i := range []cache.SharedIndexInformer{
		in.Roles().Informer(), in.RoleBindings().Informer(), in.ClusterRoles().Informer(), in.ClusterRoleBindings().Informer(),
	} {
		a.synced = append(a.synced, i.HasSyncedChecker())
	}
	a.aggregator = clusterroleaggregation.NewClusterRoleAggregation(in.ClusterRoles(), client.RbacV1())
	return a
}

// Aggregate fills the aggregated roles until ctx ends.
func (a *Access) Aggregate(ctx context.Context) { a.aggregator.Run(ctx, aggregators) }

// Synced waits until the caches are filled; it says whether they are.
func (a *Access) Synced(ctx context.Context) bool { return cache.WaitFor(ctx, "", a.synced...) }
