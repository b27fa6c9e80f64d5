package apiserver_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"

	"fairlead.dev/fairlead/internal/apitest"
)

// docs/kinds.md lists every kind that is served, and no other.
func TestKindsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z][^|]*) \| ([^|]*) \|`).FindAllStringSubmatch(string(text), -1) {
		for kind := range strings.SplitSeq(row[1], ", ") {
			for group := range strings.SplitSeq(row[2], ", ") {
				documented[strings.Replace(group, "core", "", 1)+" "+kind] = true
			}
		}
	}
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(apitest.Start(t)).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for _, r := range list.APIResources {
			if name := group + " " + r.Kind; !documented[name] {
				t.Errorf("%s is served and not in docs/kinds.md", name)
			} else {
				delete(documented, name)
			}
		}
	}
	for name := range documented {
		t.Errorf("%s is in docs/kinds.md and not served", name)
	}
}
