package plan

import "fairlead.dev/fairlead/network/nft/rule"

// Family is an IP version, and how the kernel has the table's maps in it.
type Family struct {
	rule.Family
	shapes [MapCount]mapShape
}

// NewFamily returns the IP version.
func NewFamily(v6 bool) *Family {
	f := &Family{Family: *rule.NewFamily(v6)}
	f.shapes = f.makeShapes()
	return f
}
