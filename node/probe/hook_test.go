package probe

import (
	"net/http"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestHook: the request of a lifecycle hook, as kubelet makes it.
func TestHook(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	target, port := server(t, false, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		w.WriteHeader(http.StatusInternalServerError)
	})
	target.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: port}}
	action := &corev1.HTTPGetAction{Path: "/bye?a=b", Port: intstr.FromString("web"), HTTPHeaders: []corev1.HTTPHeader{{Name: "Authorization", Value: "x"}}}
	if plain, err := Hook(t.Context(), action, target); plain || err != nil {
		t.Errorf("any answer is a success: plain %v, %v", plain, err)
	}
	if r := asked.Load(); r.RequestURI != "/bye?a=b" || r.UserAgent() != "kube-lifecycle/1.37" || r.Header.Get("Authorization") != "x" {
		t.Errorf("asked %s of %q", r.RequestURI, r.Header)
	}
	action.Scheme = corev1.URISchemeHTTPS
	if plain, err := Hook(t.Context(), action, target); !plain || err != nil {
		t.Errorf("HTTP instead of HTTPS: plain %v, %v", plain, err)
	}
	if r := asked.Load(); r.Header.Get("Authorization") != "" {
		t.Error("what authorizes was sent without encryption")
	}
	for _, port := range []intstr.IntOrString{intstr.FromString("none"), intstr.FromInt32(1)} {
		action.Port = port
		if _, err := Hook(t.Context(), action, target); err == nil {
			t.Errorf("port %v: want an error", port.String())
		}
	}
}
