package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/value"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"fairlead.dev/fairlead/apiserver/encryption"
)

// encrypt has objects encrypted by the keys of the file that cfg names, or of the cluster's own, which is made when nothing in
// etcd needs one that was lost. It is called before anything is read or written.
func (b *backend) encrypt(ctx context.Context, cfg Config) error {
	etcd, err := b.client()
	if err != nil {
		return fmt.Errorf("api server: etcd: %w", err)
	}
	defer etcd.Close()
	path := cfg.Encryption
	if path == "" {
		path = filepath.Join(cfg.DataDir, encryption.OwnFile)
		if err := ownKeys(ctx, cfg, path, etcd); err != nil {
			return fmt.Errorf("api server: %w", err)
		}
	}
	b.keys, err = encryption.Load(ctx, path, "fairlead")
	if err == nil {
		err = b.keys.Agree(ctx, etcd)
	}
	if err != nil {
		return fmt.Errorf("api server: %w", err)
	}
	return nil
}

// ownKeys makes the cluster's own keys, if it has none and never had.
func ownKeys(ctx context.Context, cfg Config, path string, etcd *clientv3.Client) error {
	if cfg.DataDir == "" {
		return errors.New("encryption: there is neither a data directory for the keys nor a file of them")
	}
	if !encryption.Missing(path) {
		return nil
	}
	encrypted, err := encryption.Encrypted(ctx, etcd)
	if err != nil {
		return err
	}
	if encrypted {
		return fmt.Errorf("encryption: Secrets in etcd are encrypted, and %s, which held the key, is missing; nothing is made anew in its place: restore it from a backup, or copy it from the data directory of the control plane that wrote them, or give --encryption-config", path)
	}
	return encryption.MakeOwn(path)
}

// client is a client of etcd itself. The caller closes it.
func (b *backend) client() (*clientv3.Client, error) {
	if b.embedded != nil {
		return b.embedded.Open(), nil
	}
	return clientv3.New(clientv3.Config{Endpoints: b.servers, DialTimeout: etcdPatience, Logger: zap.NewNop()})
}

// applyKeys has c encrypt. What keeps keys elsewhere is part of the server's health.
func (b *backend) applyKeys(c *genericapiserver.Config, cfg Config) {
	c.ResourceTransformers = b.keys
	if cfg.Encryption != "" {
		c.HealthzChecks, c.ReadyzChecks = append(c.HealthzChecks, b.keys), append(c.ReadyzChecks, b.keys)
	}
}

// transformers are for options of storages that are made without the server's configuration.
func (b *backend) transformers() value.ResourceTransformers {
	if b.keys == nil {
		return nil
	}
	return b.keys
}

// note remembers where the objects of a resource are.
func (b *backend) note(r schema.GroupResource, prefix string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil {
		b.kept = map[schema.GroupResource]string{}
	}
	b.kept[r] = prefix
}

// followKeys follows the file of the keys, and writes again, once, what is in etcd in an older form.
func (b *backend) followKeys(hook genericapiserver.PostStartHookContext, log *slog.Logger) error {
	go b.keys.Follow(hook)
	go func() {
		etcd, err := b.client()
		if err != nil {
			log.Warn("older objects are not encrypted", "err", err)
			return
		}
		defer etcd.Close()
		b.mu.Lock()
		kept := maps.Clone(b.kept)
		b.mu.Unlock()
		renewed, err := b.keys.Renew(hook, etcd, kept, b.roomy)
		if renewed > 0 {
			log.Info("objects were encrypted that were not, or with an older key", "objects", renewed)
		}
		if err != nil && hook.Err() == nil {
			log.Warn("older objects are not all encrypted", "err", err)
		}
	}()
	return nil
}

// roomy says whether there is room for a write.
func (b *backend) roomy() error {
	if b.embedded == nil {
		return nil
	}
	return b.embedded.Room()
}
