package apiserver

import (
	"net"
	"strings"
	"testing"
)

// An external etcd that cannot be reached is said with its reason, and one of several that can be is enough.
func TestReachEtcd(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + gone.Addr().String()
	gone.Close()
	err = reachEtcd(t.Context(), []string{nobody, "nonsense"})
	if err == nil || !strings.Contains(err.Error(), nobody) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), `nonsense: must be a URL`) {
		t.Error(err)
	}
	there, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := reachEtcd(t.Context(), []string{nobody, "http://" + there.Addr().String()}); err != nil {
		t.Error(err)
	}
}
