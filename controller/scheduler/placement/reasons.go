package placement

import (
	"fmt"
	"slices"
	"strings"
)

// refusal is why a node will not do; without reasons it will.
type refusal struct {
	reasons []string
	final   bool   // no pod that leaves the node changes that
	by      Change // what may; none: what the filter's row says
}

func refuse(reason string) refusal  { return refusal{reasons: []string{reason}} }
func forever(reason string) refusal { return refusal{reasons: []string{reason}, final: true} }

// Change is what may let a pod find a node that has found none: a set.
type Change int

// The changes that matter to pods without a node.
const (
	NodeChanged   Change = 1 << iota // a node has come, or has another size, state or label
	PodGone                          // a pod has left a node
	PodCame                          // a pod has come to a node, or has other labels
	VolumeChanged                    // a claim, a volume or a storage class

	Anything = NodeChanged | PodGone | PodCame | VolumeChanged
)

// sentence is upstream's for a pod that fits nowhere: how many nodes there are, and how many of them have each reason.
func sentence(nodes int, reasons map[string]int) string {
	parts := make([]string, 0, len(reasons))
	for reason, n := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}
