package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/kubeconfig"
	"fairlead.dev/fairlead/pki"
)

const (
	// lookAtAdmin is how often the administrator's certificate is looked at. It has months left when it is renewed.
	lookAtAdmin = time.Hour
	// endsSoon is how long before its end `status` speaks of the authority.
	endsSoon = 365 * 24 * time.Hour
)

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

// ending is what `status` says of an authority that ends within a year.
func ending(caPEM []byte, now time.Time) []part {
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return nil
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil || ca.NotAfter.Sub(now) > endsSoon {
		return nil
	}
	return []part{{name: "authority", state: "ends soon", ok: now.Before(ca.NotAfter), detail: fmt.Sprintf(
		"no certificate of the cluster is valid after %s; make a new cluster before, and move what runs here", ca.NotAfter.UTC().Format(time.DateOnly))}}
}
