package admission

import (
	"slices"
	"testing"

	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"
)

// left are plugins that a stock server has on and this one has not, with the reason.
var left = map[string]string{
	"PodGroupProtection": "it is about PodGroups, which a stock server does not serve",
}

// TestTheChainIsThatOfAStockServer: the same plugins, in the same order; NodeRestriction is on besides, as every installer has it.
func TestTheChainIsThatOfAStockServer(t *testing.T) {
	off := kubeoptions.DefaultOffAdmissionPlugins()
	var want, have []string
	for _, name := range kubeoptions.AllOrderedPlugins {
		if (!off.Has(name) || name == NodeRestriction) && left[name] == "" {
			want = append(want, name)
		}
	}
	for _, row := range table() {
		have = append(have, row.name)
	}
	if !slices.Equal(have, want) {
		t.Errorf("\nhave %v\nwant %v", have, want)
	}
}
