package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const text = `kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: [secrets]
  providers:
  - identity: {}
  - secretbox:
      keys:
      - name: one
        secret: short
- resources: [configmaps]
  providers: none
`

func TestLine(t *testing.T) {
	for words, want := range map[string]int{
		`yaml: line 7: mapping values are not allowed in this context`:                                           7,
		`strict decoding error: unknown field "resources[0].providers[1].secretbox.keys[0].name"`:                9,
		`resources[0].providers[1].secretbox.keys[0].secret: Invalid value: "REDACTED": must be base64`:          10,
		`[resources[1].resources: Duplicate value: "x", resources[0].providers: Required value]`:                 11,
		`resources[0].providers[0].kms.name: Required value`:                                                     6,
		`json: cannot unmarshal string into Go struct field ResourceConfiguration.resources.providers of type x`: 5,
		`no kind "Nonsense" is registered`:                                                                       1,
	} {
		if got := Line([]byte(text), words); got != want {
			t.Errorf("%s: line %d, want %d", words, got, want)
		}
	}
	if got := Line([]byte("\t: x"), "unknown field \"a\""); got != 0 {
		t.Errorf("of what is no YAML: line %d", got)
	}
	if got := Line(nil, "is empty"); got != 0 {
		t.Errorf("of nothing: line %d", got)
	}
}

func TestWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte("rules:\n- level: All\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cause := errors.New(`rules[0].level: Unsupported value: "All"`)
	if err := Wrong(path, cause); err.Error() != path+":2: "+cause.Error() || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	if err := Wrong(path+".gone", cause); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path+".gone") {
		t.Errorf("%v", err)
	}
}
