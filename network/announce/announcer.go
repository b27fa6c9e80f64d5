package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/network/announce/plan"
	"fairlead.dev/fairlead/network/announce/wire"
)

const (
	// recheck is how often the node's links are looked at.
	recheck = time.Second
	// handOver bounds how long a stop waits for others to take the addresses.
	handOver = 3 * time.Second
	// maxRequest bounds what the control plane says at once.
	maxRequest = 4 << 20
)

// Announcer announces addresses from the network namespace that Run is called in. Make one with New.
type Announcer struct {
	log    *slog.Logger
	except []string // links that lead to no other machine
	wake   chan struct{}

	mu      sync.Mutex // guards below
	machine *plan.Machine

	// The sockets, and the groups joined. Only Run opens and closes them.
	sockets map[int]*socket
	groups  map[plan.Use]io.Closer
}

// New returns an Announcer that leaves some links alone.
func New(except []string, log *slog.Logger) *Announcer {
	return &Announcer{log: log, except: except, wake: make(chan struct{}, 1), machine: plan.NewMachine(), sockets: map[int]*socket{}, groups: map[plan.Use]io.Closer{}}
}

// ServeHTTP takes what the control plane says.
func (a *Announcer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request announce.Request
	if err := json.NewDecoder(io.LimitReader(r.Body, maxRequest)).Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("addresses to announce: %v", err), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	reply := a.machine.Told(time.Now(), request)
	a.mu.Unlock()
	a.poke()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(reply)
}

// poke has Run look again.
func (a *Announcer) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run announces until ctx is done, and until others have taken over what it announces then, if they do so soon. The calling goroutine
// must stay on a thread of the network namespace.
func (a *Announcer) Run(ctx context.Context) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	defer handle.Close()
	defer a.closeAll()
	failing, looked, end := false, time.Time{}, time.Time{}
	for {
		now := time.Now()
		if ctx.Err() != nil && end.IsZero() {
			end = now.Add(handOver)
			a.mu.Lock()
			a.machine.Leave()
			a.mu.Unlock()
		}
		if !end.IsZero() && a.over(now, end) {
			return nil
		}
		if a.new() || now.Sub(looked) >= recheck {
			err = a.look(handle, now)
			looked = now
		}
		next, sent := a.act(now)
		err = errors.Join(err, sent)
		if (err != nil) != failing {
			failing = err != nil
			a.log.Info("announcing addresses", "works", !failing, "err", err)
		}
		err = nil
		a.wait(ctx, now, next, !end.IsZero())
	}
}

// new reports whether there are addresses for which the links have to be looked at.
func (a *Announcer) new() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.machine.Placing()
}

// over reports whether a stop need wait no longer.
func (a *Announcer) over(now, end time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.machine.Left(now) || now.After(end)
}

// wait waits until something is due. Nothing is while there is nothing to announce.
func (a *Announcer) wait(ctx context.Context, now, next time.Time, leaving bool) {
	a.mu.Lock()
	idle := a.machine.Empty()
	a.mu.Unlock()
	pause := recheck
	if !next.IsZero() {
		pause = min(pause, max(0, next.Sub(now)))
	}
	var timer <-chan time.Time
	done := ctx.Done()
	if leaving {
		pause, done = min(pause, 20*time.Millisecond), nil
	}
	if !idle || leaving {
		timer = time.After(pause)
	}
	select {
	case <-a.wake:
	case <-timer:
	case <-done:
	}
}

// look finds out which links there are now.
func (a *Announcer) look(handle *netlink.Handle, now time.Time) error {
	links, owned, err := linksOf(handle, a.except)
	if err != nil {
		return fmt.Errorf("links of this node: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.machine.SetLinks(now, links, owned)
	return nil
}

// act opens the sockets that are needed, and sends what is due.
func (a *Announcer) act(now time.Time) (next time.Time, err error) {
	a.mu.Lock()
	uses := a.machine.Uses()
	a.mu.Unlock()
	err = a.open(uses) // before anything is sent: the answers have to be heard
	a.mu.Lock()
	frames, next := a.machine.Due(now)
	a.mu.Unlock()
	for _, f := range frames {
		if s := a.sockets[f.Link]; s != nil {
			err = errors.Join(err, s.write(f.Frame))
		}
	}
	return next, err
}

// open makes the sockets and groups those in use.
func (a *Announcer) open(uses map[plan.Use]bool) error {
	var errs []error
	links := map[int]bool{}
	for use := range uses {
		links[use.Link] = true
		if use.Addr.Is6() && a.groups[use] == nil {
			group, err := join(use.Link, wire.Group(use.Addr))
			if err != nil {
				errs = append(errs, fmt.Errorf("group of %s on link %d: %w", use.Addr, use.Link, err))
				continue
			}
			a.groups[use] = group
		}
	}
	for use, group := range a.groups {
		if !uses[use] {
			group.Close()
			delete(a.groups, use)
		}
	}
	for index, s := range a.sockets {
		if !links[index] || s.ended.Load() {
			s.close()
			delete(a.sockets, index)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(links)) {
		if a.sockets[index] != nil {
			continue
		}
		s, err := listen(index)
		if err != nil {
			errs = append(errs, fmt.Errorf("link %d: %w", index, err))
			continue
		}
		a.sockets[index] = s
		go s.read(func(frame []byte) { a.heard(s, frame) })
	}
	return errors.Join(errs...)
}

// heard takes a frame, and answers it.
func (a *Announcer) heard(s *socket, frame []byte) {
	h, ok := wire.Parse(frame)
	if !ok {
		return
	}
	a.mu.Lock()
	answer := a.machine.Answer(s.link, h)
	a.machine.Heard(time.Now(), s.link, h)
	a.mu.Unlock()
	if answer != nil {
		s.write(answer) // who asked asks again
	}
}

func (a *Announcer) closeAll() {
	for _, s := range a.sockets {
		s.close()
	}
	for _, g := range a.groups {
		g.Close()
	}
}

// linksOf are the links to other machines that are up, and all addresses of the node.
func linksOf(handle *netlink.Handle, except []string) (links []plan.Link, owned []netip.Addr, err error) {
	all, err := handle.LinkList()
	if err != nil {
		return nil, nil, err
	}
	byIndex := map[int]*plan.Link{}
	for _, l := range all {
		at := l.Attrs()
		if len(at.HardwareAddr) != len(wire.HW{}) || at.RawFlags&(unix.IFF_LOOPBACK|unix.IFF_NOARP) != 0 || at.RawFlags&unix.IFF_UP == 0 || at.MasterIndex != 0 || slices.Contains(except, at.Name) {
			continue
		}
		byIndex[at.Index] = &plan.Link{Index: at.Index, Name: at.Name, HW: wire.HW(at.HardwareAddr)}
	}
	addrs, err := handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		owned = append(owned, ip.Unmap())
		bits, _ := a.Mask.Size()
		if l := byIndex[a.LinkIndex]; l != nil && !ip.IsLinkLocalUnicast() {
			l.Networks = append(l.Networks, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	routes, err := handle.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range routes {
		if bits := 0; r.Dst != nil {
			if bits, _ = r.Dst.Mask.Size(); bits > 0 {
				continue
			}
		}
		if l := byIndex[r.LinkIndex]; l != nil {
			l.Four, l.Six = l.Four || r.Family == netlink.FAMILY_V4, l.Six || r.Family == netlink.FAMILY_V6
		}
	}
	for _, index := range slices.Sorted(maps.Keys(byIndex)) {
		links = append(links, *byIndex[index])
	}
	return links, owned, nil
}
