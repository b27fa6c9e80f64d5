package announce

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// GatewaysPath is where an agent tells, by GET, what of Gateways its node serves: a Serving.
const GatewaysPath = "/fairlead/v1/gateways"

// Serving is what is served of Gateways and of ListenerSets, by their UIDs.
type Serving map[types.UID]Listeners

// Listeners are those of one object that are served, by name and in order, of the object as it was at a generation, and the addresses at
// which they are.
type Listeners struct {
	Generation int64    `json:"generation"`
	Names      []string `json:"names,omitempty"`
	Addresses  []string `json:"addresses,omitempty"`
}

// Covers reports whether everything is served that is wanted.
func (l Listeners) Covers(want Listeners) bool {
	lacks := func(have []string) func(string) bool { return func(s string) bool { return !slices.Contains(have, s) } }
	return l.Generation >= want.Generation && !slices.ContainsFunc(want.Names, lacks(l.Names)) && !slices.ContainsFunc(want.Addresses, lacks(l.Addresses))
}
