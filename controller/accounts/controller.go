package accounts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
)

const (
	// workers is the number of namespaces, and of Secrets, that are worked on at once.
	workers = 2
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = time.Minute
	// accountIndex finds the Secrets of an account.
	accountIndex = "accounts/account"
)

// Token makes the token of an account that is kept in a Secret.
type Token func(context.Context, *corev1.ServiceAccount, *corev1.Secret) (string, error)

// Controller keeps accounts, ConfigMaps and Secrets. Make one with New, start it with Run.
type Controller struct {
	client kubernetes.Interface
	rootCA []byte
	token  Token

	namespaces, accounts, maps, secrets cache.SharedIndexInformer
	listed                              []cache.DoneChecker
	spaces                              *kube.Queue[string]
	tokens                              *kube.Queue[types.NamespacedName]
}

// New returns a Controller over the shared informers, which the caller starts, and two of its own: of all ConfigMaps and Secrets it
// holds those that it keeps. rootCA is PEM.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, rootCA []byte, token Token, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, rootCA: rootCA, token: token,
		namespaces: shared.Core().V1().Namespaces().Informer(),
		accounts:   shared.Core().V1().ServiceAccounts().Informer(),
		maps:       only(client, metav1.ObjectNameField, api.RootCA).Core().V1().ConfigMaps().Informer(),
		secrets:    only(client, "type", string(corev1.SecretTypeServiceAccountToken)).Core().V1().Secrets().Informer(),
		spaces:     kube.NewQueue[string]("account", lastRetry, log),
		tokens:     kube.NewQueue[types.NamespacedName]("account-token", lastRetry, log),
	}
	c.watch()
	return c
}

// only are informers of the objects that have a value in a field.
func only(client kubernetes.Interface, field, value string) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(field, value).String()
	}))
}

// Run works until ctx is done. It waits for the informers' first lists, so nothing is made that is there.
func (c *Controller) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { c.maps.RunWithContext(ctx) })
	parts.Go(func() { c.secrets.RunWithContext(ctx) })
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	parts.Go(func() { c.spaces.Work(ctx, workers, c.syncNamespace) })
	parts.Go(func() { c.tokens.Work(ctx, workers, c.syncSecret) })
	return nil
}
