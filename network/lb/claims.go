package lb

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Address is where a frontend answers. Only one Service can have it.
type Address struct {
	Addr  netip.AddrPort
	Proto Protocol
}

// Address is where the frontend answers.
func (f *Frontend) Address() Address { return Address{f.Addr, f.Proto} }

// Claims says which Service has each address that Services claim. Of several
// the eldest has it, whatever kinds of address it is to them, since users expect
// what worked to go on working when somebody else claims it as well (P43);
// what an elder gives up the next has at once. The claims of one node and IP
// family are one table: node ports are claims on the node's addresses.
//
// Whoever forwards connections asks here before it does, so that all of them
// agree. It is plain data and not safe for concurrent use.
type Claims struct {
	services map[types.NamespacedName]*claimant
	owners   map[place]*claimant
	others   map[place][]*claimant // who claims it as well, the next owner last
}

// Transfer is an address that one Service loses to another.
type Transfer struct {
	Address  Address
	From, To types.NamespacedName
}

// claimant is a Service with its claims.
type claimant struct {
	api.Age
	places []place  // in order
	few    [2]place // memory for the usual number of them
}

// place is an Address as a small key.
type place struct {
	ip    [16]byte
	port  uint16
	proto Protocol
}

func placeOf(a Address) place { return place{a.Addr.Addr().As16(), a.Addr.Port(), a.Proto} }

func (p place) address() Address {
	return Address{netip.AddrPortFrom(netip.AddrFrom16(p.ip).Unmap(), p.port), p.proto}
}

func comparePlaces(a, b place) int {
	return cmp.Or(bytes.Compare(a.ip[:], b.ip[:]), cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto))
}

// NewClaims returns a table without claims, with room for those of n Services.
func NewClaims(n int) *Claims {
	return &Claims{
		services: make(map[types.NamespacedName]*claimant, n),
		owners:   make(map[place]*claimant, n),
		others:   map[place][]*claimant{},
	}
}

// Put makes the claims of a Service those of its frontends, which are all that it
// claims from then on. It returns the addresses that change hands between this
// Service and others; what nobody else claims is not among them. The cost is
// that of this Service's own addresses, however many Services there are.
func (c *Claims) Put(rows *Rows) []Transfer {
	had, next := c.services[rows.Service], newClaimant(rows)
	switch {
	case had == nil && len(next.places) == 0:
		return nil
	case had == nil:
		had = &claimant{}
	case next.Created.Equal(had.Created) && slices.Equal(next.places, had.places):
		return nil
	}
	var moved []Transfer
	for i, j := 0, 0; i < len(had.places) || j < len(next.places); {
		p, goes, comes := step(had.places, next.places, i, j)
		before := c.owners[p]
		if goes {
			c.withdraw(p, had)
			i++
		}
		if comes {
			c.enter(p, next)
			j++
		}
		if after := c.owners[p]; before != nil && after != nil && before.Name != after.Name {
			moved = append(moved, Transfer{p.address(), before.Name, after.Name})
		}
	}
	if len(next.places) == 0 {
		delete(c.services, next.Name)
	} else {
		c.services[next.Name] = next
	}
	return moved
}

func newClaimant(rows *Rows) *claimant {
	s := &claimant{Age: rows.age()}
	s.places = s.few[:0]
	for i := range rows.Frontends {
		s.places = append(s.places, placeOf(rows.Frontends[i].Address()))
	}
	if !slices.IsSortedFunc(s.places, comparePlaces) {
		slices.SortFunc(s.places, comparePlaces)
	}
	return s
}

// step returns the next place of two sorted lists, and which of them have it.
func step(a, b []place, i, j int) (p place, inA, inB bool) {
	switch {
	case i == len(a):
		return b[j], false, true
	case j == len(b):
		return a[i], true, false
	}
	order := comparePlaces(a[i], b[j])
	if order > 0 {
		return b[j], false, true
	}
	return a[i], true, order == 0
}

func (c *Claims) enter(p place, s *claimant) {
	owner := c.owners[p]
	if owner == nil {
		c.owners[p] = s
		return
	}
	all := c.others[p]
	if compareClaimants(s, owner) < 0 {
		c.owners[p], c.others[p] = s, append(all, owner)
		return
	}
	c.others[p] = slices.Insert(all, turn(all, s), s)
}

// turn is the place of a Service among those that wait for an address.
func turn(all []*claimant, s *claimant) int {
	at, _ := slices.BinarySearchFunc(all, s, func(a, b *claimant) int { return compareClaimants(b, a) })
	return at
}

func (c *Claims) withdraw(p place, s *claimant) {
	all := c.others[p]
	last := len(all) - 1
	switch {
	case c.owners[p] != s:
		at := turn(all, s)
		all = slices.Delete(all, at, at+1)
	case last < 0:
		delete(c.owners, p)
		return
	default:
		c.owners[p] = all[last]
		all[last] = nil // or it would be kept in memory
		all = all[:last]
	}
	if len(all) == 0 {
		delete(c.others, p)
		return
	}
	c.others[p] = all
}

// compareClaimants puts the elder first.
func compareClaimants(a, b *claimant) int {
	return a.Compare(b.Age)
}

// Owner returns the Service that has an address, if any claims it.
func (c *Claims) Owner(a Address) (types.NamespacedName, bool) {
	s := c.owners[placeOf(a)]
	if s == nil {
		return types.NamespacedName{}, false
	}
	return s.Name, true
}

// Contested reports whether any address is claimed by more than one Service.
func (c *Claims) Contested() bool { return len(c.others) > 0 }

// Len is how many addresses are claimed.
func (c *Claims) Len() int { return len(c.owners) }

// Settle says in the rows of all Services of a node which frontends go to an
// elder Service, as Claims does change by change.
func Settle(all []Rows) {
	byAge := make([]int, len(all))
	for i := range byAge {
		byAge[i] = i
	}
	slices.SortStableFunc(byAge, func(i, j int) int {
		return all[i].age().Compare(all[j].age())
	})
	owners := map[Address]types.NamespacedName{}
	for _, i := range byAge {
		for k := range all[i].Frontends {
			f := &all[i].Frontends[k]
			f.TakenBy = types.NamespacedName{}
			if owner, taken := owners[f.Address()]; !taken {
				owners[f.Address()] = all[i].Service
			} else if owner != all[i].Service {
				f.TakenBy = owner
			}
		}
	}
}
