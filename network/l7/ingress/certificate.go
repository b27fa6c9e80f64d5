package ingress

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"fairlead.dev/fairlead/network/l7/route"
)

// certificates are those of all Ingresses: for each host that of the eldest Ingress which names one, and all that are for no host.
type certificates struct {
	claims map[string][]claim // by host, in order
	asks   map[string]int     // parts that ask clients for a certificate, by host
	tls    *route.Termination // of the first of each
}

// claim is that a part has a certificate for a host.
type claim struct {
	part *part
	at   int // in its certs
}

func (c claim) certificate() route.Certificate { return c.part.certs[c.at] }

func compareClaims(a, b claim) int {
	return cmp.Or(a.part.age.Compare(b.part.age), cmp.Compare(a.at, b.at))
}

// file enters the certificates of a part, or takes them out.
func (c *certificates) file(p *part, in bool) {
	if p.asks {
		for host := range p.names() {
			if c.asks[host]--; in {
				c.asks[host] += 2
			}
			if c.asks[host] == 0 {
				delete(c.asks, host)
			}
		}
	}
	for at, cert := range p.certs {
		list := c.claims[cert.Host]
		i, found := slices.BinarySearchFunc(list, claim{p, at}, compareClaims)
		switch {
		case in && !found:
			c.claims[cert.Host] = slices.Insert(list, i, claim{p, at})
		case !in && found && len(list) == 1:
			delete(c.claims, cert.Host)
		case !in && found:
			c.claims[cert.Host] = slices.Delete(list, i, i+1)
		}
	}
}

// update makes the certificates anew for some hosts, and reports whether that changed anything.
func (c *certificates) update(hosts map[string]bool) bool {
	list, changed := c.tls.Certificates, false
	if len(hosts) > len(list)/16+8 { // most are new
		list = nil
		for _, host := range slices.Sorted(maps.Keys(c.claims)) {
			list = append(list, c.of(host)...)
		}
		changed = !slices.Equal(list, c.tls.Certificates)
	} else {
		for host := range hosts {
			from, _ := slices.BinarySearchFunc(list, host, func(a route.Certificate, host string) int { return cmp.Compare(a.Host, host) })
			to := from
			for to < len(list) && list[to].Host == host {
				to++
			}
			if now := c.of(host); !slices.Equal(now, list[from:to]) {
				list, changed = slices.Concat(list[:from], now, list[to:]), true
			}
		}
	}
	ask := c.tls.Ask
	if len(ask)+len(c.asks) > 0 {
		ask = slices.Sorted(maps.Keys(c.asks))
		changed = changed || !slices.Equal(ask, c.tls.Ask)
	}
	if changed {
		c.tls = &route.Termination{Certificates: list, Ask: ask}
	}
	return changed
}

// of are the certificates of a host.
func (c *certificates) of(host string) []route.Certificate {
	var list []route.Certificate
	for _, one := range c.claims[host] {
		if cert := one.certificate(); !slices.Contains(list, cert) && (host == "" || len(list) == 0) {
			list = append(list, cert)
		}
	}
	return list
}

// findings are for the certificates of a part that do not serve because another's do.
func (c *certificates) findings(p *part) []Finding {
	var list []Finding
	for at, cert := range p.certs {
		first := c.claims[cert.Host][0]
		if cert.Host != "" && first.certificate().Secret != cert.Secret {
			list = append(list, Finding{
				Ingress: p.age.Name, Code: CertificateTaken, Level: Wrong, Where: p.certAt[at],
				Sentence: fmt.Sprintf("host %s has the certificate of Secret %s already, by Ingress %s", cert.Host, first.certificate().Secret, first.part.age.Name),
				Remedy:   "Have both name the same Secret, or remove the host from one",
			})
		}
	}
	return list
}
