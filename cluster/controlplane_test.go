package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

// A control plane starts in its stages, is the administrator's by the file it writes, shows what its controllers count, and ends
// without an error when it is told to.
func TestControlPlane(t *testing.T) {
	inst := instance.Instance{Dir: filepath.Join(t.TempDir(), "data")}
	if err := inst.Prepare(); err != nil {
		t.Fatal(err)
	}
	s, err := config.Resolve(config.Config{DataDir: inst.Dir})
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().(*net.TCPAddr).AddrPort()
	free.Close()
	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	var told bytes.Buffer
	log := slog.New(slog.DiscardHandler)
	cp, err := startControlPlane(ctx, g, inst, s, apiserver.Config{Bind: at, Advertise: at.Addr()}, log, newStages(&told))
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://" + netip.AddrPort(at).String(); cp.server != want {
		t.Errorf("reached at %s, want %s", cp.server, want)
	}
	for _, stage := range []string{`"API server"`, `"controllers"`} {
		if !strings.Contains(told.String(), stage) {
			t.Errorf("stage %s is not told: %s", stage, told.String())
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", inst.Path("admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range []string{"\napiserver_request_total{", "\nworkqueue_adds_total{", "\nendpoint_slice_controller_", "\nscheduler_"} {
		if !strings.Contains(string(metrics), series) {
			t.Errorf("/metrics has no series %q", strings.TrimSpace(series))
		}
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Errorf("told to stop, it ends with %v", err)
	}
}
