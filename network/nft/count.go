package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/wire"
)

// EndpointCount is how many connections an endpoint of a Service got from this
// node, as the kernel counts them. An endpoint is counted from when it took its
// place in the kernel's table: it begins anew when the table is written anew or
// the endpoint moves to another place because others went.
type EndpointCount struct {
	Service     types.NamespacedName
	Port        string // the Service port's name, empty for an unnamed port
	Endpoint    netip.AddrPort
	Connections uint64
}

// ErrNotCounted means that connections are not counted: it is not configured, or
// there are more endpoints than it is configured for.
var ErrNotCounted = errors.New("connections to endpoints are not counted")

// Connections returns the counts of a Service's endpoints, by port name and
// address. It asks the kernel for exactly the elements of this Service, a
// microsecond each. A Service without endpoints in the kernel has none.
func (p *Proxy) Connections(name types.NamespacedName) ([]EndpointCount, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		p.mu.Lock()
		a, s := p.taken[name], p.asking
		p.mu.Unlock()
		if s == nil {
			return nil, fmt.Errorf("%w: the proxy does not run", ErrNotCounted)
		}
		counts, err := p.count(s, name, a)
		// An endpoint that went meanwhile is not there to be asked for.
		if errors.Is(err, unix.ENOENT) && attempt < attempts {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("connections of service %s: %w", name, err)
		}
		return counts, nil
	}
}

// AllConnections returns the counts of all Services, by name. There are at most
// as many as Config.CountUpTo for each IP version. A Service that changes faster
// than it can be asked about is left out.
func (p *Proxy) AllConnections() ([]EndpointCount, error) {
	p.mu.Lock()
	names := make([]types.NamespacedName, 0, len(p.taken))
	for name := range p.taken {
		names = append(names, name)
	}
	p.mu.Unlock()
	slices.SortFunc(names, compareNames)
	var all []EndpointCount
	for _, name := range names {
		counts, err := p.Connections(name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, counts...)
	}
	return all, nil
}

func compareNames(a, b types.NamespacedName) int {
	return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
}

func (p *Proxy) count(s *socket, name types.NamespacedName, a taken) ([]EndpointCount, error) {
	type endpoint struct {
		port string
		at   netip.AddrPort
	}
	sums := map[endpoint]uint64{}
	for i, service := range a.services {
		if service == nil {
			continue
		}
		f := p.families[i]
		for j := range service.Sets() {
			set := &service.Sets()[j]
			err := s.look(f, set.Home(), set.Places(), func(e element) error {
				at, ok := f.ParseBackend(e.data)
				if !ok || !e.counted {
					return ErrNotCounted
				}
				sums[endpoint{set.Port, at}] += e.packets
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	counts := make([]EndpointCount, 0, len(sums))
	for e, n := range sums {
		counts = append(counts, EndpointCount{Service: name, Port: e.port, Endpoint: e.at, Connections: n})
	}
	slices.SortFunc(counts, func(x, y EndpointCount) int {
		if c := strings.Compare(x.Port, y.Port); c != 0 {
			return c
		}
		return x.Endpoint.Compare(y.Endpoint)
	})
	return counts, nil
}

// conntracked asks how many connections are tracked, and how many may be.
func (s *socket) conntracked() (entries, limit uint32, err error) {
	const getStats, globalEntries, globalMax = 5, 1, 2 // IPCTNL_MSG_CT_GET_STATS, CTA_STATS_GLOBAL_*
	err = s.Request(unix.NFNL_SUBSYS_CTNETLINK<<8|getStats, 0, unix.AF_UNSPEC, func(m netfilter.Message) error {
		for a := range wire.Attributes(m.Body) {
			if len(a.Data) != 4 {
				continue
			}
			switch a.Kind {
			case globalEntries:
				entries = binary.BigEndian.Uint32(a.Data)
			case globalMax:
				limit = binary.BigEndian.Uint32(a.Data)
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("conntrack statistics: %w", err)
	}
	return entries, limit, nil
}
