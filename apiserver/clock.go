package apiserver

import (
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"

	"fairlead.dev/fairlead/pki"
)

// withClock tells whoever shows a certificate of the cluster's own that is not good now which time it is here: "Unauthorized", as is said
// to everybody else, leads nobody to a clock.
func withClock(api http.Handler, ca *pki.Authority, codecs runtime.NegotiatedSerializer, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			shown := r.TLS.PeerCertificates[0]
			if why := pki.Untimely(shown, now()); why != "" && ca.Knows(shown) {
				responsewriters.ErrorNegotiated(apierrors.NewUnauthorized("Unauthorized: "+why), codecs, schema.GroupVersion{Version: metav1.SchemeGroupVersion.Version}, w, r)
				return
			}
		}
		api.ServeHTTP(w, r)
	})
}
