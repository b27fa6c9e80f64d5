package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/etcd3/metrics"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/utils/clock"

	clientv3 "go.etcd.io/etcd/client/v3"

	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/apiserver/encryption"
	"fairlead.dev/fairlead/apiserver/registry"
	"fairlead.dev/fairlead/apiserver/store"
)

// storagePrefix begins every key in etcd, as with kube-apiserver.
const storagePrefix = "/registry"

// backend is the etcd that objects are stored in.
type backend struct {
	servers  []string     // client URLs of an external etcd
	embedded *store.Store // nil: the servers are used
	log      *slog.Logger

	reclaiming atomic.Bool
	creations  creations

	keys *encryption.Keys // set by encrypt
	mu   sync.Mutex
	kept map[schema.GroupResource]string // below which key of etcd the objects of each resource are

	unwatched generic.RESTOptionsGetter // storage options without a watch cache; set by apply
	addresses *written                  // how IPAddresses are stored; set when their storage is made
	services  *clientv3.Client          // of the storage of Services; set when that is made

	compactor etcd3.Compactor // of the embedded etcd; set by apply
	stop      func()          // ends what apply began; nil: nothing
}

// config is how a codec's objects are stored.
func (b *backend) config(codec runtime.Codec) *storagebackend.Config {
	c := storagebackend.NewDefaultConfig(storagePrefix, codec)
	c.Transport.ServerList = b.servers
	return c
}

// apply makes c store its objects here, every kind as protobuf in its versioned form, those of our own group as JSON, and say whether it can.
func (b *backend) apply(c *genericapiserver.Config, cfg Config) error {
	b.applyKeys(c, cfg)
	config := b.config(nil)
	factory := serverstorage.NewDefaultStorageFactory(*config, "application/vnd.kubernetes.protobuf",
		registry.Codecs, serverstorage.NewDefaultResourceEncodingConfig(registry.Scheme), serverstorage.NewResourceConfig(), nil)
	factory.SetSerializer(schema.GroupResource{Group: kinds.GroupName, Resource: serverstorage.AllResources}, runtime.ContentTypeJSON, nil)
	o := options.NewEtcdOptions(config)
	if b.embedded == nil {
		if err := o.ApplyWithStorageFactoryTo(factory, c); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		b.install(c, c.RESTOptionsGetter)
		return nil
	}
	client := b.embedded.Open()
	compactor := etcd3.NewCompactor(client, config.CompactionInterval, clock.RealClock{}, nil)
	b.compactor = compactor
	b.stop = func() {
		compactor.Stop()
		client.Close()
	}
	alive := healthz.NamedGroupedCheck("etcd", "etcd", func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), config.HealthcheckTimeout)
		defer cancel()
		if _, err := client.Get(ctx, storagePrefix+"/health"); err != nil {
			return fmt.Errorf("error getting data from etcd: %w", err)
		}
		return nil
	})
	c.AddHealthChecks(alive)
	metrics.SetStorageMonitorGetter(func() ([]metrics.Monitor, error) { return []metrics.Monitor{size{client}}, nil })
	b.install(c, o.CreateRESTOptionsGetter(factory, b.transformers()))
	return nil
}

// install makes these the storage options of c.
func (b *backend) install(c *genericapiserver.Config, getter generic.RESTOptionsGetter) {
	c.RESTOptionsGetter, b.unwatched = b.direct(getter, true), b.direct(getter, false)
}

// close ends what apply began.
func (b *backend) close() {
	if b.stop != nil {
		b.stop()
	}
}

// options are the storage options of objects that a codec writes, in their simplest form.
func (b *backend) options(codec runtime.Codec) generic.RESTOptionsGetter {
	c := b.config(codec)
	return b.direct(options.NewEtcdOptions(c).CreateRESTOptionsGetter(&options.SimpleStorageFactory{StorageConfig: *c}, b.transformers()), true)
}

// uncached are storage options without a watch cache, for objects that are large and rarely read: it would keep each of them, and
// what each was at its last changes.
func (b *backend) uncached(codec runtime.Codec) generic.RESTOptionsGetter {
	c := b.config(codec)
	o := options.NewEtcdOptions(c)
	o.EnableWatchCache = false
	return b.direct(o.CreateRESTOptionsGetter(&options.SimpleStorageFactory{StorageConfig: *c}, b.transformers()), false)
}

// size is what the metrics ask for the embedded etcd's size.
type size struct{ client *clientv3.Client }

// Monitor is part of metrics.Monitor.
func (s size) Monitor(ctx context.Context) (metrics.StorageMetrics, error) {
	status, err := s.client.Status(ctx, "")
	if err != nil {
		return metrics.StorageMetrics{}, err
	}
	return metrics.StorageMetrics{Size: status.DbSize}, nil
}

// Close is part of metrics.Monitor. The client belongs to the backend.
func (size) Close() error { return nil }
