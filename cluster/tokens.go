package cluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/pki"
)

// Permanent is what stands for the id of the cluster's own token, which does not end by itself.
const Permanent = "permanent"

// Tokens are those by which machines join one of this host's clusters.
type Tokens struct {
	inst instance.Instance
	ca   *pki.Authority
	kept join.Secrets
}

// NewTokens finds a cluster of this host, which must be running.
func NewTokens(c config.Config, version string) (*Tokens, error) {
	inst, _, err := Locate(c)
	if err != nil {
		return nil, err
	}
	ca, err := authority(inst)
	if err != nil {
		return nil, err
	}
	cfg, err := API{Kubeconfig: inst.Path("admin.kubeconfig")}.client(version)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &Tokens{inst, ca, client.CoreV1().Secrets(metav1.NamespaceSystem)}, nil
}

// Create makes a token that ends after a while, and returns what a machine joins by.
func (t *Tokens) Create(ctx context.Context, life time.Duration, description string) (string, error) {
	return join.Make(ctx, t.kept, t.ca, life, description)
}

// List lists the tokens that end, and the one that does not, which comes first.
func (t *Tokens) List(ctx context.Context) ([]join.Stored, error) {
	list, err := join.List(ctx, t.kept)
	if err != nil {
		return nil, err
	}
	own := join.Stored{ID: Permanent, Description: "in " + t.inst.Path(joinToken)}
	return append([]join.Stored{own}, list...), nil
}

// Delete revokes a token. The cluster's own is replaced by another; machines that have joined do not need it any more.
func (t *Tokens) Delete(ctx context.Context, id string) error {
	if id != Permanent {
		return join.Revoke(ctx, t.kept, id)
	}
	secret, err := t.inst.NewSecret(tokenFile)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return keepJoinToken(t.inst, t.ca, secret)
}

// keepJoinToken writes the file that a machine joins by.
func keepJoinToken(inst instance.Instance, ca *pki.Authority, secret string) error {
	return durable.WriteFile(inst.Path(joinToken), []byte(join.Token(ca, secret)+"\n"), 0o600)
}
