package cluster

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/kubeconfig"
	"fairlead.dev/fairlead/pki"
)

// lookAtAdmin is how often the administrator's certificate is looked at. It has months left when it is renewed.
const lookAtAdmin = time.Hour

// adminAccess is the administrator's way to the API of a cluster, which is kept in a file.
type adminAccess struct {
	cluster string
	at      netip.AddrPort
	ca      *pki.Authority
	who     *pki.Source
	path    string
	written []byte // the certificate that the file holds
}

// newAdminAccess writes the file.
func newAdminAccess(inst instance.Instance, cluster string, at netip.AddrPort, ca *pki.Authority) (*adminAccess, error) {
	who, err := ca.Source(pki.Request{CommonName: "fairlead-admin", Organizations: []string{"system:masters"}, Client: true})
	if err != nil {
		return nil, err
	}
	a := &adminAccess{cluster: cluster, at: at, ca: ca, who: who, path: inst.Path("admin.kubeconfig")}
	return a, a.write()
}

// write puts the present certificate into the file, if another one is there.
func (a *adminAccess) write() error {
	cert, key := a.who.PEM()
	if string(cert) == string(a.written) {
		return nil
	}
	if err := (kubeconfig.Entry{Name: a.cluster, Server: "https://" + a.at.String(), CA: a.ca.CertPEM(), Cert: cert, Key: key}).Write(a.path); err != nil {
		return err
	}
	a.written = cert
	return nil
}

// keep writes the file again whenever the certificate has been renewed, until ctx ends.
func (a *adminAccess) keep(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(lookAtAdmin)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := a.write(); err != nil {
			log.Warn("the administrator's new certificate cannot be written, trying again in an hour", "file", a.path, "err", err)
		}
	}
}
