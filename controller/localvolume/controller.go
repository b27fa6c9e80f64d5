package localvolume

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/localvolume"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/pki/peer"
)

const (
	// workers is how many volumes are worked on at once.
	workers = 8
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = time.Minute
	// askBound bounds a question: what is in a directory takes a while to remove.
	askBound = 2 * time.Minute
	maxReply = 8 << 20
	// nameIndex finds a claim by the name of its volume.
	nameIndex = "localvolume/name"
)

// Asker tells a node what is to become of a directory, or with a nil request asks for all that it has. An error means that the node
// did not answer.
type Asker func(ctx context.Context, node *corev1.Node, request *localvolume.Request) (localvolume.Reply, error)

// Agents returns an Asker that asks the agents of nodes.
func Agents(agents *peer.Asker) Asker {
	return func(ctx context.Context, node *corev1.Node, request *localvolume.Request) (reply localvolume.Reply, err error) {
		ctx, cancel := context.WithTimeout(ctx, askBound)
		defer cancel()
		var question any // nil is not a request that is nil
		if request != nil {
			question = request
		}
		if err = agents.Ask(ctx, node, localvolume.Path, question, &reply, maxReply); err != nil {
			err = fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		return reply, err
	}
}

// key is something to look at: a volume, or the directories of a node.
type key struct{ volume, node string }

// Controller provides volumes and removes them. Make one with New, start it with Run.
type Controller struct {
	client kubernetes.Interface
	shared informers.SharedInformerFactory
	first  kube.First
	ask    Asker
	log    *slog.Logger
	events record.EventRecorder // set by Run
	queue  *kube.Queue[key]

	claims, volumes, classes, nodes cache.SharedIndexInformer // set by Run

	mu    sync.Mutex                 // guards tried
	tried map[string]map[string]bool // the nodes on which there may be the directory of a volume that is not written, by volume
}

// New returns a Controller over the shared informers. It starts nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, first kube.First, ask Asker, log *slog.Logger) *Controller {
	return &Controller{
		client: client, shared: shared, first: first, ask: ask, log: log,
		queue: kube.NewQueue[key]("localvolume", lastRetry, log), tried: map[string]map[string]bool{},
	}
}

// Run works until ctx is done, from when there is a claim or a volume.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.first(ctx, corev1.Resource("persistentvolumeclaims"), corev1.Resource("persistentvolumes")); err != nil || ctx.Err() != nil {
		return err
	}
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: localvolume.Provisioner})
	core := c.shared.Core().V1()
	c.claims, c.volumes, c.nodes = core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer(), core.Nodes().Informer()
	c.classes = c.shared.Storage().V1().StorageClasses().Informer()
	if err := c.claims.AddIndexers(cache.Indexers{nameIndex: byName}); err != nil {
		return fmt.Errorf("index of claims: %w", err)
	}
	listed := []cache.DoneChecker{
		kube.Watch(c.claims, c.claimChanged), kube.Watch(c.volumes, c.volumeChanged),
		kube.Watch(c.classes, func(_, _ *storagev1.StorageClass, _ bool) {}), kube.Watch(c.nodes, c.nodeChanged),
	}
	c.shared.Start(ctx.Done()) // what nobody has watched before
	if !cache.WaitFor(ctx, "", listed...) {
		return nil
	}
	c.queue.Work(ctx, workers, c.sync)
	return nil
}

func byName(obj any) ([]string, error) {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil, nil
	}
	return []string{localvolume.Name(claim)}, nil
}

func (c *Controller) claimChanged(before, after *corev1.PersistentVolumeClaim, _ bool) {
	for _, claim := range kube.Versions(before, after) {
		if after == nil || wants(claim) {
			c.queue.Add(key{volume: localvolume.Name(claim)})
		}
	}
}

func (c *Controller) volumeChanged(_, after *corev1.PersistentVolume, _ bool) {
	if after != nil && ours(after) && fateOf(after) != stays {
		c.queue.Add(key{volume: after.Name})
	}
}

// nodeChanged has the directories of a node looked at that has become ready, and what waits for it tried.
func (c *Controller) nodeChanged(before, after *corev1.Node, _ bool) {
	if after == nil || !api.NodeReady(after) || before != nil && api.NodeReady(before) {
		return
	}
	c.queue.Add(key{node: after.Name})
	for _, obj := range c.volumes.GetStore().List() {
		if v, ok := obj.(*corev1.PersistentVolume); ok && ours(v) && onHost(v) == hostname(after) && fateOf(v) != stays {
			c.queue.Forget(key{volume: v.Name})
			c.queue.Add(key{volume: v.Name})
		}
	}
}

// node finds a node in the cache by its name, nil when there is none.
func (c *Controller) node(name string) *corev1.Node {
	return kube.Cached[corev1.Node](c.nodes, keyOf(name))
}

// labelled finds the node with a hostname, nil when there is none.
func (c *Controller) labelled(host string) *corev1.Node {
	if node := c.node(host); node != nil && hostname(node) == host {
		return node
	}
	for _, obj := range c.nodes.GetStore().List() {
		if node, ok := obj.(*corev1.Node); ok && hostname(node) == host {
			return node
		}
	}
	return nil
}
