package accounts

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
)

// watch registers the index and handlers. Handlers only put keys on queues.
func (c *Controller) watch() {
	if err := c.secrets.AddIndexers(cache.Indexers{accountIndex: func(obj any) ([]string, error) {
		s, ok := obj.(*corev1.Secret)
		if !ok {
			return nil, nil
		}
		return []string{s.Namespace + "/" + s.Annotations[corev1.ServiceAccountNameKey]}, nil
	}}); err != nil {
		panic(fmt.Sprintf("BUG: accounts: %v", err)) // the informer is this controller's own
	}
	c.listed = []cache.DoneChecker{
		kube.Watch(c.namespaces, c.namespaceChanged), kube.Watch(c.accounts, c.accountChanged),
		kube.Watch(c.maps, c.mapChanged), kube.Watch(c.secrets, c.secretChanged),
	}
}

func (c *Controller) namespaceChanged(before, after *corev1.Namespace, _ bool) {
	if before == nil {
		c.spaces.Add(after.Name)
	}
}

// accountChanged has an account made again that is always there, and the Secrets of one looked at that came or went.
func (c *Controller) accountChanged(before, after *corev1.ServiceAccount, _ bool) {
	if after == nil && before.Name == api.DefaultAccount {
		c.spaces.Add(before.Namespace)
	}
	if before != nil && after != nil && before.UID == after.UID {
		return
	}
	for _, account := range kube.Versions(before, after) {
		keys, _ := c.secrets.GetIndexer().IndexKeys(accountIndex, account.Namespace+"/"+account.Name) // the index is there
		for _, key := range keys {
			if name, err := cache.ParseObjectName(key); err == nil {
				c.tokens.Add(name.AsNamespacedName())
			}
		}
	}
}

func (c *Controller) mapChanged(before, after *corev1.ConfigMap, first bool) {
	if after == nil {
		c.spaces.Add(before.Namespace)
	} else if !first && !maps.Equal(after.Data, api.RootCAOf(after.Namespace, c.rootCA).Data) {
		c.spaces.Add(after.Namespace)
	}
}

func (c *Controller) secretChanged(_, after *corev1.Secret, _ bool) {
	if after != nil {
		c.tokens.Add(kube.Key(after))
	}
}
