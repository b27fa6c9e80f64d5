package apiserver_test

import (
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"fairlead.dev/fairlead/internal/apitest"
)

// Two servers over one etcd would not learn from each other which webhooks and policies there are.
func TestASecondServerOverAnEtcdIsRefused(t *testing.T) {
	etcd, at := externalEtcd(t)
	first := apitest.Config(t, t.TempDir())
	first.EtcdServers = []string{at}
	_, stop := apitest.Run(t, first)
	second := apitest.Config(t, t.TempDir())
	second.EtcdServers = first.EtcdServers
	if err := refused(t, second); !strings.Contains(err.Error(), "another API server works on this etcd") || !strings.Contains(err.Error(), first.DataDir) {
		t.Errorf("%v", err)
	}
	stop()
	second.Encryption = filepath.Join(first.DataDir, "encryption.yaml")
	_, stop = apitest.Run(t, second) // at once
	stop()
	if left := lockKeys(t, etcd); left != 0 {
		t.Errorf("%d keys stay when the servers have ended", left)
	}
}

// A server that was killed is followed at once by the next one over its directory, which is the only one there can be.
func TestAKilledServersPlaceIsItsOwn(t *testing.T) {
	etcd, at := externalEtcd(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.EtcdServers = []string{at}
	_, stop := apitest.Run(t, cfg)
	client := v3client.New(etcd.Server)
	got, err := client.Get(t.Context(), "/fairlead.dev/apiserver")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	stop()
	if _, err := client.Put(t.Context(), "/fairlead.dev/apiserver", string(got.Kvs[0].Value)); err != nil { // as if it had not got round to it
		t.Fatal(err)
	}
	other := apitest.Config(t, t.TempDir())
	other.EtcdServers = cfg.EtcdServers
	if err := refused(t, other); !strings.Contains(err.Error(), "if it is gone, try again") {
		t.Errorf("%v", err)
	}
	apitest.Run(t, cfg)
}

// A server that another one has replaced, while etcd could not be reached, ends.
func TestAServerThatWasReplacedEnds(t *testing.T) {
	etcd, at := externalEtcd(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.EtcdServers = []string{at}
	ended := running(t, cfg)
	client := v3client.New(etcd.Server)
	got, err := client.Get(t.Context(), "/fairlead.dev/apiserver")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := client.Put(t.Context(), "/fairlead.dev/apiserver", `{"host":"elsewhere","dir":"/d"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Revoke(t.Context(), clientv3.LeaseID(got.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "on host elsewhere with data directory /d") {
		t.Errorf("%v", err)
	}
}

func lockKeys(t *testing.T, etcd *embed.Etcd) int {
	t.Helper()
	got, err := v3client.New(etcd.Server).Get(t.Context(), "/fairlead.dev/apiserver")
	if err != nil {
		t.Fatal(err)
	}
	return len(got.Kvs)
}
