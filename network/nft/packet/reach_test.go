package packet

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
)

// Answers are waited for patiently, so that a busy machine fails no test.
// Silence is what lasts longer than quick.
const (
	patient = 15 * time.Second
	quick   = 400 * time.Millisecond
)

// both is a TCP and a UDP connection to the same place, n times.
func both(to netip.AddrPort, n int) []netlab.Shot {
	return slices.Repeat([]netlab.Shot{{To: to}, {UDP: true, To: to}}, n)
}

// reaches connects by TCP and UDP until each of the servers has answered, and
// fails if any other does, or if one saw the client as none of the addresses
// given in as.
func (l *lab) reaches(from machine, to netip.AddrPort, as []netip.Addr, servers ...machine) {
	l.t.Helper()
	l.hits(from, both(to, 16), as, servers...)
}

func (l *lab) hits(from machine, shots []netlab.Shot, as []netip.Addr, servers ...machine) {
	l.t.Helper()
	seen := map[string]bool{}
	for range 20 {
		for i, r := range from.Volley(shots, 0, patient) {
			to := shots[i].To
			switch {
			case r.Err != nil:
				l.t.Errorf("%s to %s %s: %v, want an answer", from.name, protocol(shots[i]), to, r.Err)
			case !slices.ContainsFunc(servers, func(m machine) bool { return m.name == r.Answer.Name }):
				l.t.Errorf("%s to %s %s: %q answered, want one of %q", from.name, protocol(shots[i]), to, r.Answer.Name, names(servers))
			case !slices.Contains(as, r.Answer.Client):
				l.t.Errorf("%s to %s %s: %q saw client %s, want one of %v", from.name, protocol(shots[i]), to, r.Answer.Name, r.Answer.Client, as)
			default:
				seen[protocol(shots[i])+r.Answer.Name] = true
				continue
			}
			return
		}
		if len(seen) == 2*len(servers) {
			return
		}
	}
	l.t.Errorf("%s to %s: only %v answered, want all of %q", from.name, shots[0].To, seen, names(servers))
}

func protocol(s netlab.Shot) string {
	if s.UDP {
		return "udp"
	}
	return "tcp"
}

func names(all []machine) (list []string) {
	for _, m := range all {
		list = append(list, m.name)
	}
	return list
}

// self is a client that is seen as what it is.
func (m machine) self() []netip.Addr { return []netip.Addr{m.ip} }

// refused expects a reset and an unreachable port, at once and for each try.
func (l *lab) refused(from machine, to netip.AddrPort) {
	l.t.Helper()
	shots := both(to, 3)
	for i, r := range from.Volley(shots, 0, patient) {
		if !errors.Is(r.Err, syscall.ECONNREFUSED) {
			l.t.Errorf("%s to %s %s: %+v, %v; want a refusal", from.name, protocol(shots[i]), to, r.Answer, r.Err)
		}
	}
}

// silent expects neither an answer nor a refusal, for any of the clients.
func (l *lab) silent(to netip.AddrPort, clients ...machine) {
	l.t.Helper()
	var group sync.WaitGroup
	for _, from := range clients {
		group.Go(func() {
			shots := both(to, 1)
			for i := range shots {
				shots[i].Silent = true
			}
			for i, r := range from.Volley(shots, quick, patient) {
				if !errors.Is(r.Err, os.ErrDeadlineExceeded) {
					l.t.Errorf("%s to %s %s: %+v, %v; want silence", from.name, protocol(shots[i]), to, r.Answer, r.Err)
				}
			}
		})
	}
	group.Wait()
}

// unanswered expects no answer, whether refused, unreachable or silent: nobody
// is there.
func (l *lab) unanswered(to netip.AddrPort, clients ...machine) {
	l.t.Helper()
	for _, from := range clients {
		shots := both(to, 1)
		for i := range shots {
			shots[i].Silent = true
		}
		for i, r := range from.Volley(shots, quick, patient) {
			if r.Err == nil {
				l.t.Errorf("%s to %s %s: %+v; want no answer", from.name, protocol(shots[i]), to, r.Answer)
			}
		}
	}
}

// ask makes one connection and returns the answer.
func (l *lab) ask(from machine, shot netlab.Shot) netlab.Answer {
	l.t.Helper()
	r := from.Volley([]netlab.Shot{shot}, 0, patient)[0]
	if r.Err != nil {
		l.t.Errorf("%s to %s %s: %v", from.name, protocol(shot), shot.To, r.Err)
	}
	return r.Answer
}
