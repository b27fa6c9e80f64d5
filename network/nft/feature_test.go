package nft

import (
	"regexp"
	"strings"
	"testing"
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
	all := append(features(), feature{what: "flying", since: "9.9", option: "NFT_FLY",
		rule: func(*family) rule { return join([]expr{{name: "fly"}}) }})
	err := explain(newFamily(true), all)
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
	tx := newTransaction(newFamily(false), 0)
	tx.ruleMessage("nowhere", join(notrack()))
	err := explained(newFamily(false), byHand.socket.commit(tx))
	if err == nil || strings.Contains(err.Error(), "lacks") {
		t.Errorf("a rule in a table that is not there: %v", err)
	}
}
