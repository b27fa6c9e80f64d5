package ingressrefs

import (
	"fmt"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSecrets(t *testing.T) {
	tls := func(names ...string) (all []networkingv1.IngressTLS) {
		for _, n := range names {
			all = append(all, networkingv1.IngressTLS{SecretName: n})
		}
		return all
	}
	for _, test := range []struct {
		tls  []networkingv1.IngressTLS
		auth string
		want string
	}{
		{nil, "", "[]"},
		{tls("b", "a", "b", ""), "", "[shop/a shop/b]"},
		{tls("a"), "users", "[shop/a shop/users]"},
		{tls("a"), "shop/a", "[shop/a]"},
		{nil, "shop/users", "[shop/users]"},
		{nil, "other/users", "[]"},
		{nil, "shop/", "[]"},
		{nil, "/users", "[]"},
		{nil, " users ", "[shop/users]"},
	} {
		ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Annotations: map[string]string{AnnotationAuthSecret: test.auth}}}
		ing.Spec.TLS = test.tls
		ing.Annotations[AnnotationBackendSecret], ing.Annotations[AnnotationClientSecret] = test.auth, test.auth // the same rules
		if got := fmt.Sprint(Secrets(ing)); got != test.want {
			t.Errorf("%v, %q: %s, want %s", test.tls, test.auth, got, test.want)
		}
		if got := ConfigMaps(ing); len(got) != 0 {
			t.Errorf("%q: ConfigMaps %v, and none is named", test.auth, got)
		}
		headers := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Annotations: map[string]string{AnnotationHeaders: test.auth}}}
		ing.Spec.TLS = nil
		if got, want := fmt.Sprint(ConfigMaps(headers)), fmt.Sprint(Secrets(ing)); got != want || len(Secrets(headers)) != 0 {
			t.Errorf("%q: ConfigMaps %s, want %s, and no Secrets", test.auth, got, want)
		}
	}
}
