package ingress

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/network/l7/route"
)

// headers adds the headers of custom-headers to answers. Those that fairlead.dev/response-headers names are as it says.
func (d *derivation) headers() {
	name, ok := ingressrefs.Annotated(d.ing, ingressrefs.AnnotationHeaders)
	if !ok || d.settings.headersFrom == "" || d.world.ConfigMap == nil {
		return
	}
	d.uses = append(d.uses, name)
	m := d.world.ConfigMap(name)
	if m == nil {
		return
	}
	own, all := d.base.Response, route.HeaderEdit{Set: slices.Clone(d.base.Response.Set), Remove: slices.Clone(d.base.Response.Remove)}
	edit, _ := headersIn(m)
	for _, h := range edit.Set {
		if !names(own, h.Name) {
			all.Set = append(all.Set, h)
		}
	}
	for _, header := range edit.Remove {
		if !names(own, header) {
			all.Remove = append(all.Remove, header)
		}
	}
	d.base.Response = all
}

func names(e route.HeaderEdit, header string) bool {
	return slices.Contains(e.Remove, header) || slices.ContainsFunc(e.Set, func(h route.Header) bool { return h.Name == header })
}

// headersIn are the headers in a ConfigMap, a key each; one with an empty value is taken out. wrong are the keys that are none.
func headersIn(m *corev1.ConfigMap) (edit route.HeaderEdit, wrong []string) {
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(m.Data)) {
		name, value := textproto.CanonicalMIMEHeaderKey(key), strings.TrimSpace(m.Data[key])
		switch {
		case !headerName.MatchString(key) || !headerValue.MatchString(value) || slices.Contains(ofConnections, name) || seen[name]:
			wrong = append(wrong, key)
		case value == "":
			edit.Remove = append(edit.Remove, name)
		default:
			edit.Set = append(edit.Set, route.Header{Name: name, Value: value})
		}
		seen[name] = true
	}
	return edit, wrong
}

// ConfigMaps are findings about the ConfigMap that an Ingress names: missing, or with what is no header.
func ConfigMaps(ing *networkingv1.Ingress, configMap func(types.NamespacedName) *corev1.ConfigMap) []Finding {
	name, ok := ingressrefs.Annotated(ing, ingressrefs.AnnotationHeaders)
	if s, _ := read(ing); !ok || s.headersFrom == "" {
		return nil
	}
	find := func(code, sentence, remedy string) []Finding {
		return []Finding{{Ingress: api.Name(ing), Code: code, Level: Wrong, Where: "custom-headers", Sentence: sentence, Remedy: remedy}}
	}
	m := configMap(name)
	if m == nil {
		return find(ConfigMapMissing, fmt.Sprintf("there is no ConfigMap %s: answers have none of its headers", name), "Create it, with a key for each header")
	}
	if _, wrong := headersIn(m); len(wrong) > 0 {
		return find(ConfigMapWrong, fmt.Sprintf("ConfigMap %s has %s, which is no header, there twice, or may not be changed: it is left out", name, shortened(strings.Join(wrong, ", "))), "Remove it")
	}
	return nil
}
