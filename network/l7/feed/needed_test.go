package feed

import (
	"cmp"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// A pool is new with the first who needs it and gone with the last, whether hosts stay, change or go, and whoever needs it besides.
func TestNeededPools(t *testing.T) {
	backend := func(name string) []route.Backend {
		return []route.Backend{{Service: types.NamespacedName{Name: name}, Port: 80, Mirrors: []route.Mirror{{Backend: route.Backend{Service: types.NamespacedName{Name: "copy"}, Port: 80}}}}}
	}
	host := func(name, service string) *route.Host {
		return &route.Host{Name: name, Rules: []*route.Rule{{Action: route.Action{Backends: backend(service)}}}}
	}
	table := func(stream string, hosts ...*route.Host) *route.Table {
		l := &route.Listener{Hosts: route.NewHosts(hosts)}
		if stream != "" {
			l.Streams = []route.Stream{{Backends: []route.Backend{{Service: types.NamespacedName{Name: stream}, Port: 80}}}}
		}
		plain, secure := &route.Entry{Listeners: []*route.Listener{l}}, &route.Entry{Listeners: []*route.Listener{{Hosts: l.Hosts}}}
		return &route.Table{Entries: map[route.Point]*route.Entry{{Port: 80}: plain, {Port: 443}: secure}}
	}
	a, b := host("a", "blue"), host("b", "blue")
	n := newNeeded()
	for _, step := range []struct {
		table      *route.Table
		more, less string
	}{
		{table("", a, b), "blue copy", ""},
		{table("", a, b), "", ""},
		{table("", a, host("b", "green")), "green", ""},
		{table("", a), "", "green"},
		{table("blue", a), "", ""},
		{table("blue"), "", "copy"},
		{table("red", host("a", "blue")), "copy red", ""},
		{table("", host("a", "green")), "green", "blue red"},
		{&route.Table{}, "", "copy green"},
	} {
		more, less := n.update(step.table)
		if got := namesOf(more); got != step.more {
			t.Errorf("%+v: new are %q", step, got)
		}
		if got := namesOf(less); got != step.less {
			t.Errorf("%+v: gone are %q", step, got)
		}
	}
	if len(n.count)+len(n.hosts) > 0 {
		t.Errorf("an empty table needs %v, hosts %v are kept", n.count, n.hosts)
	}
}

func namesOf(keys []upstream.Key) (text string) {
	slices.SortFunc(keys, func(a, b upstream.Key) int { return cmp.Compare(a.Service.Name, b.Service.Name) })
	for i, k := range keys {
		if i > 0 {
			text += " "
		}
		text += k.Service.Name
	}
	return text
}
