package plan

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// Tally is what a plan for one Service comes to.
type Tally struct {
	Added, Removed int // endpoints
	Endpoints      int // that the Service should have
	Sufficient     int // slices that would hold them, were all but the last of each group full
	Slices         int // that there will be
}

// countUp adds up a plan.
func countUp(svc *corev1.Service, groups map[group]*desired, existing []*discoveryv1.EndpointSlice, plan Changes) Tally {
	t := Tally{Slices: len(existing) + len(plan.Create) - len(plan.Delete)}
	families := map[discoveryv1.AddressType]bool{}
	placed := 0
	for g, want := range groups {
		families[g.family] = true
		t.Endpoints += len(want.endpoints)
		t.Sufficient += (len(want.endpoints) + sliceLimit - 1) / sliceLimit
		for i := range want.endpoints {
			if want.endpoints[i].placed {
				placed++
			}
		}
	}
	t.Sufficient += len(api.Families(svc)) - len(families) // the placeholders
	t.Added = t.Endpoints - placed
	for _, slice := range existing {
		t.Removed += len(slice.Endpoints)
	}
	t.Removed -= placed
	return t
}
