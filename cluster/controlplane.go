package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/apiserver/issuers"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/pki"
)

// joinToken is the file that a machine joins by, in the cluster's directory. Only root can read it.
const joinToken = "join-token"

// tokenFile has the secret of the cluster's own token, which lasts until it is replaced.
const tokenFile = "token"

// controlPlane is a running API server with its controllers.
type controlPlane struct {
	ca     *pki.Authority
	client kubernetes.Interface
	server string // https://ADDR:PORT

	acknowledged func() world.Revisions                       // how far its writes have come
	firstPolicy  func(ctx context.Context, none func()) error // see guard.Config
	world        *world.World                                 // of the node in this process; nil: there is none
	// inProcess makes clients of this process call the API server directly.
	inProcess func(*rest.Config, *pki.Source) *rest.Config
}

// startControlPlane brings up the store, the API server and the controllers, and returns when they answer. Where the API server is
// reached is said by at; all else about it follows from the settings. They run in g until ctx ends.
func startControlPlane(ctx context.Context, g *errgroup.Group, inst instance.Instance, s config.Settings, at apiserver.Config, log *slog.Logger, st *stages) (*controlPlane, error) {
	ca, err := authority(inst)
	if err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	api, joins, err := newAPIServer(inst, s, at, ca, metrics, log)
	if err != nil {
		return nil, err
	}
	g.Go(named("apiserver", ctx, api.Run))
	if err := await(ctx, "API server", api.Ready(), apiBound, api.Waiting); err != nil {
		return nil, err
	}
	st.done("API server")
	cp := &controlPlane{ca: ca, server: "https://" + netip.AddrPortFrom(at.Advertise, at.Bind.Port()).String(), acknowledged: acknowledged(api), firstPolicy: firstPolicy(api), inProcess: api.InProcess}
	if at.Node != "" {
		cp.world = world.New()
	}
	if cp.client, err = startControllers(ctx, g, cp.inProcess(api.ClientConfig(), nil), ca, s, cp.world, customsOf(api), api.SecretToken, metrics, log); err != nil {
		return nil, err
	}
	joins.Open(join.Cluster{Nodes: listNodes(cp.client), Tokens: cp.client.CoreV1().Secrets(metav1.NamespaceSystem)})
	st.done("controllers")
	admin, err := newAdminAccess(inst, s.Name, netip.AddrPortFrom(nearest(at.Bind.Addr()), at.Bind.Port()), ca)
	if err != nil {
		return nil, err
	}
	g.Go(named("admin", ctx, func(ctx context.Context) error { return admin.keep(ctx, log) }))
	return cp, nil
}

// newAPIServer is the API server of a cluster, with what answers machines that join. Nothing is served yet.
func newAPIServer(inst instance.Instance, s config.Settings, at apiserver.Config, ca *pki.Authority, metrics prometheus.Gatherer, log *slog.Logger) (*apiserver.Server, *join.Handler, error) {
	secret, err := inst.Secret(tokenFile)
	if err != nil {
		return nil, nil, fmt.Errorf("token: %w", err)
	}
	if err := keepJoinToken(inst, ca, secret); err != nil {
		return nil, nil, err
	}
	at.DataDir, at.EtcdServers = s.DataDir, s.EtcdServers
	at.PodCIDRs, at.ServiceCIDRs, at.ClusterDNS, at.Domain = s.Pods, s.Services, s.DNS, s.Domain
	at.NodePorts = alloc.PortRange{First: s.FirstPort, Last: s.LastPort}
	at.AllowExternalIPs = config.Yes(s.AllowExternalIPs)
	at.CA, at.Metrics = ca, metrics
	at.Encryption, at.Admission = config.Path(s.EncryptionConfig), config.Path(s.AdmissionControlConfigFile)
	at.Audit = apiserver.Audit{Policy: config.Path(s.AuditPolicyFile), Log: s.AuditLog(), MaxAge: s.AuditLogMaxAge, MaxBackups: s.AuditLogMaxBackup, MaxSize: s.AuditLogMaxSize}
	at.Issuers, at.Profiling = issuersOf(s), config.Yes(s.Profiling)
	joins := join.NewHandler(join.Config{CA: ca, Secret: func() (string, error) { return inst.Secret(tokenFile) }, Networking: s.Networking, Claims: at.Claims(), Dir: inst.Path("joined")})
	if at.AccountKeys, err = pki.AccountKeys(inst.Path("pki")); err != nil {
		return nil, nil, err
	}
	at.Join = joins
	api, err := apiserver.New(at, log.With("part", "apiserver"))
	return api, joins, err
}

// issuersOf are who issues users' tokens, besides the cluster itself.
func issuersOf(s config.Settings) issuers.Config {
	from := issuers.Config{File: config.Path(s.AuthenticationConfig)}
	if o := s.OIDC; o.OIDCIssuerURL != config.None {
		from.Flags = issuers.Flags{IssuerURL: o.OIDCIssuerURL, ClientID: o.OIDCClientID, UsernameClaim: o.OIDCUsernameClaim, UsernamePrefix: o.OIDCUsernamePrefix,
			GroupsClaim: o.OIDCGroupsClaim, GroupsPrefix: o.OIDCGroupsPrefix, CAFile: config.Path(o.OIDCCAFile), RequiredClaims: o.OIDCRequiredClaim, SigningAlgs: o.OIDCSigningAlgs}
	}
	return from
}

// authority is the cluster's own. A cluster that is there already does not get another one.
func authority(inst instance.Instance) (*pki.Authority, error) {
	files, err := os.ReadDir(inst.Path("pki"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		if err := inst.MayMake("pki"); err != nil {
			return nil, err
		}
	}
	ca, err := pki.LoadOrCreate(inst.Path("pki"))
	if err != nil {
		return nil, err
	}
	if why := ca.Untimely(time.Now()); why != "" { // nobody would believe any certificate
		return nil, fmt.Errorf("certificate authority in %s: %s; set the clock of this host", inst.Path("pki"), why)
	}
	return ca, nil
}

// acknowledged reads how far the writes of an API server have come.
func acknowledged(api *apiserver.Server) func() world.Revisions {
	at := api.Acknowledged()
	return func() world.Revisions {
		return world.Revisions{world.Services: at.Services.Load(), world.EndpointSlices: at.EndpointSlices.Load(), world.Namespaces: at.Namespaces.Load()}
	}
}

// firstPolicy tells of the first NetworkPolicy without a watch.
func firstPolicy(api *apiserver.Server) func(context.Context, func()) error {
	policies := schema.GroupResource{Group: "networking.k8s.io", Resource: "networkpolicies"}
	return func(ctx context.Context, none func()) error {
		if unused, err := api.Unused(ctx, policies); err != nil {
			return err
		} else if unused {
			none()
		}
		return api.AwaitFirst(ctx, policies)
	}
}

// listNodes lists the nodes of the cluster.
func listNodes(client kubernetes.Interface) func(context.Context) ([]*corev1.Node, error) {
	return func(ctx context.Context) ([]*corev1.Node, error) {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		nodes := make([]*corev1.Node, len(list.Items))
		for i := range list.Items {
			nodes[i] = &list.Items[i]
		}
		return nodes, nil
	}
}

// nearest is the address at which this host itself reaches what listens at bind. Its own loopback stays when all its other
// addresses change.
func nearest(bind netip.Addr) netip.Addr {
	if !bind.IsUnspecified() {
		return bind
	}
	return loopback(bind)
}
