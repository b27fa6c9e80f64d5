package nft

import (
	"regexp"
	"strings"
	"testing"

	"fairlead.dev/fairlead/network/nft/plan"
)

func TestThisKernelHasAll(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		if err := CheckKernel(v6); err != nil {
			t.Error(err)
		}
	}
}

// A kernel that lacks something is told what, and which Linux has it.
func TestWhatAKernelLacksIsNamed(t *testing.T) {
	all := append(plan.Features(), plan.Feature{What: "flying", Since: "9.9", Option: "NFT_FLY"}.Expression("fly"))
	err := explain(plan.NewFamily(true), all)
	want := regexp.MustCompile(`^this kernel, Linux \S+, lacks for table ip6: flying \(Linux 9\.9 or newer with NFT_FLY\)$`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("%v, want %s", err, want)
	}
}

// What the kernel says about a table that it refuses comes with an explanation,
// and with none if it has all it needs: then the reason is another.
func TestRefusalIsExplained(t *testing.T) {
	l := newLab(t)
	byHand := stepped(t, l.node, testConfig, l.world)
	f := plan.NewFamily(false)
	tx := plan.RemoveElements(f, []plan.Key{plan.AddrKey(plan.MapNodes, nodeIP)})
	err := explained(f, byHand.socket.Commit(&tx.Batch))
	if err == nil || strings.Contains(err.Error(), "lacks") {
		t.Errorf("an element in a table that is not there: %v", err)
	}
}
