package gateway

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// ConditionCertificateValid, of a listener, is False while it shows a certificate outside of the time in which that is valid, and else
// not there.
const ConditionCertificateValid = "fairlead.dev/CertificateValid"

// The reasons of ConditionCertificateValid, which are those of Events on Ingresses as well.
const (
	reasonExpired = "CertificateExpired"
	reasonEarly   = "CertificateNotYetValid"
)

// dated is a certificate that a listener shows.
type dated struct {
	secret types.NamespacedName
	checked
}

// outdated is what is to be said of a listener's certificates at a time; nil: all are valid.
func (l *listener) outdated(now time.Time) *verdict {
	for _, d := range l.dated {
		var v verdict
		switch {
		case now.After(d.until):
			v = no(reasonExpired, fmt.Sprintf("Listener %s: Secret %s has a certificate that expired at %s: renew it, the nodes take a new one at once", l.name, d.secret, d.until.UTC().Format(time.RFC3339)))
		case now.Before(d.from):
			v = no(reasonEarly, fmt.Sprintf("Listener %s: Secret %s has a certificate that is valid from %s: wait until then, or put another there", l.name, d.secret, d.from.UTC().Format(time.RFC3339)))
		default:
			continue
		}
		return &v
	}
	return nil
}

// Again is how long after a time a certificate begins or ends to be valid, so that a status has to be looked at anew; zero: none does.
func (g *Gateway) Again(now time.Time) (next time.Duration) {
	for _, s := range g.sources() {
		for _, l := range s.listeners {
			for _, d := range l.dated {
				for _, at := range []time.Time{d.from, d.until} {
					if wait := at.Sub(now); wait >= 0 && (next == 0 || wait < next) {
						next = wait + time.Second // certificates know seconds
					}
				}
			}
		}
	}
	return next
}

// Wrong are the conditions among some listeners' that say what is wrong with a certificate.
func Wrong(listeners ...[]metav1.Condition) (all []metav1.Condition) {
	for _, conditions := range listeners {
		for _, c := range conditions {
			if c.Status == metav1.ConditionFalse && (c.Type == ConditionCertificateValid || c.Reason == string(gw.ListenerReasonInvalidCertificateRef)) {
				all = append(all, c)
			}
		}
	}
	return all
}
