package world

import "strconv"

// Revisions are how far the kinds that names come from are known: the resource version of the newest change of each.
// Zero is nothing.
type Revisions struct {
	Services, EndpointSlices, Namespaces uint64
}

// Cover reports whether nothing up to other is missing.
func (r Revisions) Cover(other Revisions) bool {
	return r.Services >= other.Services && r.EndpointSlices >= other.EndpointSlices && r.Namespaces >= other.Namespaces
}

// set notes the version of a kind's newest change, and reports whether that is new. Objects that come from no API
// server have none.
func (r *Revisions) set(kind Kind, version string) bool {
	var at *uint64
	switch kind {
	case Services:
		at = &r.Services
	case EndpointSlices:
		at = &r.EndpointSlices
	case Namespaces:
		at = &r.Namespaces
	}
	v, err := strconv.ParseUint(version, 10, 64)
	if at == nil || err != nil || v == *at {
		return false
	}
	*at = v
	return true
}
