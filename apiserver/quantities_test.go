package apiserver

import "testing"

// TestHugeQuantities: only what the libraries would read as a quantity counts, whatever the encoding.
func TestHugeQuantities(t *testing.T) {
	const (
		json     = "application/json"
		protobuf = "application/vnd.kubernetes.protobuf"
	)
	for _, c := range []struct {
		contentType, body string
		want              bool
	}{
		{json, `{"spec":{"containers":[{"resources":{"limits":{"cpu":"1E-99999"}}}]}}`, true},
		{json, `{"spec":{"containers":[{"resources":{"limits":{"cpu":1e-99999}}}]}}`, true},
		{json, `{"spec":{"containers":[{"resources":{"limits":{"cpu":" -1E-99999 "}}}]}}`, true},
		{json, `{"spec":{"containers":[{"resources":{"limits":{"cpu":"1E9999"}}}]}}`, false},
		{json, `{"spec":{"volumes":[{"emptyDir":{"sizeLimit":"1\u0045-\u0039\u0039\u0039\u0039\u0039"}}]}}`, true},
		{json, `{"metadata":{"uid":"0b7d21f4-6a5c-4f0e-9a51-1e1234567890","name":"web-1e12345","labels":{"commit":"9e12345"}}}`, false},
		{json, `{"spec":{"containers":[{"image":"app:1e12345","args":["1e12345"]}]}}`, false},
		{"application/apply-patch+yaml", "status: {capacity: {cpu: '1e-99999'}}", true},
		{"application/apply-patch+yaml", "metadata: {labels: {commit: '1e99999'}}", false},
		{"application/json-patch+json", `[{"value":"1e-99999","path":"/status/capacity/cpu"}]`, true},
		{"application/json-patch+json", `[{"path":"/metadata/labels/commit","value":"1e99999"}]`, false},
		{protobuf, "k8s\x00\x0a\x0c1E-999999999\x12", true},
		{protobuf, "k8s\x00\x0a\x240b7d21f4-6a5c-4f0e-9a51-1e1234567890\x12\x0b", false},
		{protobuf, "k8s\x00\x0a\x079e12345\x12", false},
	} {
		got := mayBeHuge([]byte(c.body)) && suspect.MatchString(c.body) && hasHuge([]byte(c.body), c.contentType)
		if got != c.want {
			t.Errorf("%s %q: %v", c.contentType, c.body, got)
		}
	}
}
