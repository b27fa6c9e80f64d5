package gateways

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// ConfigMaps follows those that are named to it, each by a watch of its own: a node may read no others.
type ConfigMaps struct {
	client  kubernetes.Interface
	changed func()

	mu       sync.Mutex
	followed map[types.NamespacedName]*followed
}

type followed struct {
	cache.SharedIndexInformer
	stop context.CancelFunc
}

// NewConfigMaps returns ConfigMaps that follow nothing yet, and call changed after each change.
func NewConfigMaps(client kubernetes.Interface, changed func()) *ConfigMaps {
	return &ConfigMaps{client: client, changed: changed, followed: map[types.NamespacedName]*followed{}}
}

// Get returns one that is followed, nil if there is none or it has not been read.
func (c *ConfigMaps) Get(name types.NamespacedName) *corev1.ConfigMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.followed[name]
	if f == nil {
		return nil
	}
	obj, _, err := f.GetStore().GetByKey(name.String())
	if err != nil {
		return nil
	}
	m, _ := obj.(*corev1.ConfigMap)
	return m
}

// Follow names those to follow from now on, until ctx is done. The others are forgotten.
func (c *ConfigMaps) Follow(ctx context.Context, names map[types.NamespacedName]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, f := range c.followed {
		if !names[name] {
			f.stop()
			delete(c.followed, name)
		}
	}
	for name := range names {
		if c.followed[name] != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		f := &followed{SharedIndexInformer: c.informer(name), stop: stop}
		c.followed[name] = f
		go f.RunWithContext(own)
	}
}

func (c *ConfigMaps) informer(name types.NamespacedName) cache.SharedIndexInformer {
	one := fields.OneTermEqualSelector(metav1.ObjectNameField, name.Name)
	lw := cache.NewFilteredListWatchFromClient(c.client.CoreV1().RESTClient(), "configmaps", name.Namespace, func(o *metav1.ListOptions) { o.FieldSelector = one.String() })
	informer := cache.NewSharedIndexInformer(source{lw}, &corev1.ConfigMap{}, 0, cache.Indexers{})
	tell := func() { c.changed() }
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // fails only once it has been stopped
		AddFunc: func(any) { tell() }, UpdateFunc: func(any, any) { tell() }, DeleteFunc: func(any) { tell() },
	})
	return informer
}
