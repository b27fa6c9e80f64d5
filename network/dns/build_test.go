package dns

import (
	"testing"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/network/dns/zone"
	"fairlead.dev/fairlead/network/world"
)

// query packs a question in the way a stub resolver does.
func query(t testing.TB, name string, typ uint16) []byte {
	t.Helper()
	m := new(miekg.Msg).SetQuestion(name, typ)
	m.SetEdns0(1232, false)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// build is a builder's next Zone of what has changed in a World.
func build(b *zone.Builder, w *world.World, changes world.Changes, serial uint32) *zone.Zone {
	s := &Server{world: w}
	return b.Build(s.namespaces(changes), s.services(changes), serial)
}

// domainOf is a domain of the tests.
func domainOf(domain string) zone.Name {
	n, _ := zone.ParseName(domain)
	return n
}
