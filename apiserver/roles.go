package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apiserver/pkg/registry/generic"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"fairlead.dev/fairlead/apiserver/auth"
	"fairlead.dev/fairlead/apiserver/rbac"
)

const (
	// policyHook is upstream's name of what keeps the roles that a cluster begins with.
	policyHook = "rbac/bootstrap-roles"
	// seedPatience bounds the first write of the policy: without it, it is written object by object when the server serves.
	seedPatience = 5 * time.Second
	// policyPause is before the second attempt to make the policy whole, and doubles until longestPolicyPause.
	policyPause, longestPolicyPause = 250 * time.Millisecond, time.Minute
)

// roles are those that decide, and the policy that a cluster begins with.
type roles struct {
	access *rbac.Access
	policy rbac.Policy
}

// newRoles has a server decide by roles, and by what is before them.
func newRoles(c *genericapiserver.Config, own *self, bound *auth.Bound) (*roles, error) {
	r := &roles{rbac.New(own.client, own.informers), rbac.Bootstrap()}
	var err error
	if c.Authorization.Authorizer, err = auth.Authorizer(bound, r.access); err != nil {
		return nil, fmt.Errorf("api server: authorization: %w", err)
	}
	c.RuleResolver = auth.Rules{Roles: r.access}
	return r, nil
}

// seed writes the policy of a new cluster.
func (b *backend) seed(ctx context.Context, options generic.RESTOptionsGetter, policy rbac.Policy) {
	if err := b.trySeed(ctx, options, policy); err != nil && ctx.Err() == nil {
		b.log.Warn("the roles that a cluster begins with are written one by one", "err", err)
	}
}

func (b *backend) trySeed(ctx context.Context, options generic.RESTOptionsGetter, policy rbac.Policy) error {
	if err := b.roomy(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, seedPatience)
	defer cancel()
	etcd, err := b.client()
	if err != nil {
		return err
	}
	defer etcd.Close()
	return rbac.Seed(ctx, etcd, options, policy)
}

// addHook makes the policy whole. The server is not ready before that was tried; where it does not succeed, as behind a webhook of
// somebody's that refuses roles, it is tried again while the server serves. No error is returned, which would end the process.
func (r *roles) addHook(api *genericapiserver.GenericAPIServer, log *slog.Logger) {
	api.AddPostStartHookOrDie(policyHook, func(hook genericapiserver.PostStartHookContext) error {
		if !r.access.Synced(hook) {
			return nil
		}
		go r.access.Aggregate(hook)
		policy := r.policy
		r.policy = rbac.Policy{} // a server may live long, and needs it no more
		if err := r.access.Reconcile(hook, policy); err != nil {
			go r.retry(hook, policy, err, log)
		}
		return nil
	})
}

// retry makes a policy whole, less and less often, until it is or ctx ends.
func (r *roles) retry(ctx context.Context, policy rbac.Policy, err error, log *slog.Logger) {
	for pause := policyPause; err != nil; pause = min(2*pause, longestPolicyPause) {
		log.Warn("the roles that a cluster begins with are not whole", "err", err, "again in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err = r.access.Reconcile(ctx, policy)
	}
}
