package loadbalancer

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/controller/loadbalancer/plan"
)

// routerTime is how long it may take until a router has been told of a new address, and until that is known here.
const routerTime = 10 * time.Second

// routers is what is known of which routers have been told of addresses by BGP.
type routers struct {
	mu     sync.Mutex
	told   announce.Told
	lacked map[netip.Addr]time.Time // addresses of which none has been told, and since when
	late   map[netip.Addr]bool      // for longer than it may take
}

// Told hears which routers have been told of which addresses.
func (c *Controller) Told(told announce.Told) {
	c.routers.mu.Lock()
	news := !reflect.DeepEqual(told, c.routers.told)
	c.routers.told = told
	c.routers.mu.Unlock()
	c.wakeIf(news)
}

// await notes of which of the addresses that are for routers none has been told, and returns when to look again; zero: no need.
func (r *routers) await(decisions []plan.Decision, pools []plan.Pool, now time.Time) (again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lacked, late := map[netip.Addr]time.Time{}, map[netip.Addr]bool{}
	for _, d := range decisions {
		for _, addr := range d.Addresses {
			if len(r.told[addr]) > 0 || !plan.Announced(pools, addr, kinds.AnnounceBGP) {
				continue
			}
			since, known := r.lacked[addr]
			if !known {
				since = now
			}
			lacked[addr] = since
			if wait := routerTime - now.Sub(since); wait <= 0 {
				late[addr] = true
			} else if again == 0 || wait < again {
				again = wait
			}
		}
	}
	r.lacked, r.late = lacked, late
	return again
}

// say is what is said of an address that is for routers, and as which reason. Where it is announced on links as well, and there is no
// router, nothing is.
func (r *routers) say(addr netip.Addr, otherwise bool) (text, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch names := r.told.Routers(addr); {
	case len(names) == 1:
		return fmt.Sprintf("router %s has been told of %s", names[0], addr), announced
	case len(names) > 1:
		return fmt.Sprintf("routers %s have been told of %s", strings.Join(names, ", "), addr), announced
	case otherwise:
		return "", ""
	case !r.late[addr]:
		return fmt.Sprintf("routers are about to be told of %s", addr), waiting
	}
	return fmt.Sprintf("no router has been told of %s: no node that serves it has a session with one (kubectl get bgppeers)", addr), notAnnounced
}
