package ingress

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// TestConfigMaps: what is wrong with the ConfigMap of custom-headers is found.
func TestConfigMaps(t *testing.T) {
	c := newCluster()
	c.configMap("shop", "good", map[string]string{"X-A": "b"})
	c.configMap("shop", "twice", map[string]string{"X-A": "b", "x-a": "c"})
	c.configMap("shop", "line", map[string]string{"X-A": "b\nX-B: c"})
	c.configMap("shop", "host", map[string]string{"host": "x"})
	c.configMap("other", "good", nil)
	for name, want := range map[string]string{"good": "", "shop/good": "", "gone": ConfigMapMissing, "twice": ConfigMapWrong, "line": ConfigMapWrong, "host": ConfigMapWrong, "other/good": ""} {
		b := serve(t, c, one("a", map[string]string{"custom-headers": name}, "a.x / web"))
		got := ""
		for _, f := range ConfigMaps(b.world.Ingress(types.NamespacedName{Namespace: "shop", Name: "a"}), c.world().ConfigMap) {
			got += f.Code
		}
		expect(t, name, got, want)
		said := ""
		if name == "other/good" {
			said = "AnnotationInvalid custom-headers"
		}
		expect(t, name, b.said("a"), said)
	}
}
