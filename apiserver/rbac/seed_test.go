package rbac

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"fairlead.dev/fairlead/apiserver/registry"
	"fairlead.dev/fairlead/apiserver/store"
)

// plain stores objects as they are encoded.
type plain struct{}

// GetRESTOptions is part of generic.RESTOptionsGetter.
func (plain) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	config := storagebackend.NewDefaultConfig("/registry", registry.Codecs.LegacyCodec(rbacv1.SchemeGroupVersion))
	return generic.RESTOptions{StorageConfig: config.ForResource(resource), ResourcePrefix: resource.Resource}, nil
}

// etcd is a store that runs until the test ends.
func etcd(t *testing.T) *clientv3.Client {
	t.Helper()
	s := store.New(t.TempDir(), slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	client := s.Open()
	t.Cleanup(func() { client.Close() })
	return client
}

// policyIn reads what is stored.
func policyIn(t *testing.T, client *clientv3.Client) map[string]metav1.Object {
	t.Helper()
	all, err := client.Get(t.Context(), "/registry/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]metav1.Object{}
	for _, kv := range all.Kvs {
		obj, err := runtime.Decode(registry.Codecs.UniversalDecoder(rbacv1.SchemeGroupVersion), kv.Value)
		if err != nil {
			t.Fatalf("%s: %v", kv.Key, err)
		}
		objects[string(kv.Key)] = obj.(metav1.Object)
		if kv.Version != 1 {
			t.Errorf("%s was written %d times", kv.Key, kv.Version)
		}
	}
	return objects
}

// revision is how many transactions have changed something.
func revision(t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	answer, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Header.Revision - 1
}

func TestTwoSeedsMakeOnePolicy(t *testing.T) {
	client := etcd(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := Seed(t.Context(), client, plain{}, Bootstrap()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if n := revision(t, client); n > 2 {
		t.Errorf("%d transactions changed something", n)
	}
	p, uids := Bootstrap(), map[string]bool{}
	stored := policyIn(t, client)
	if want := len(p.ClusterRoles) + len(p.ClusterRoleBindings) + len(p.Roles) + len(p.RoleBindings); len(stored) != want {
		t.Errorf("%d objects are stored, want %d", len(stored), want)
	}
	for key, obj := range stored {
		if created := obj.GetCreationTimestamp(); created.IsZero() || obj.GetUID() == "" || uids[string(obj.GetUID())] {
			t.Errorf("%s: created %v, uid %q", key, created, obj.GetUID())
		}
		uids[string(obj.GetUID())] = true
		if !strings.HasSuffix(key, "/"+obj.GetNamespace()+"/"+obj.GetName()) && !strings.HasSuffix(key, "s/"+obj.GetName()) {
			t.Errorf("%s holds %s/%s", key, obj.GetNamespace(), obj.GetName())
		}
	}
}

func TestAStoreWithRolesIsNotSeeded(t *testing.T) {
	client := etcd(t)
	mine := Policy{ClusterRoles: []rbacv1.ClusterRole{{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}}}
	for _, p := range []Policy{mine, Bootstrap()} {
		if err := Seed(t.Context(), client, plain{}, p); err != nil {
			t.Fatal(err)
		}
	}
	if stored := policyIn(t, client); len(stored) != 1 || stored["/registry/clusterroles/mine"] == nil {
		t.Errorf("stored: %v", stored)
	}
}

func TestAggregatedRolesAreFilled(t *testing.T) {
	for _, role := range Bootstrap().ClusterRoles {
		if want := map[string]string{"view": "httproutes", "edit": "httproutes", "admin": "rolebindings"}[role.Name]; want != "" {
			text := role.String()
			if !strings.Contains(text, want) {
				t.Errorf("%s does not allow %s", role.Name, want)
			}
		}
	}
}
