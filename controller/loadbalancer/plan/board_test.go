package plan

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/announce"
)

// agents play the nodes' part: each has the list it was told last.
type agents struct {
	t     *testing.T
	now   time.Time
	board *Board
	live  map[string]*agent
}

type agent struct {
	revision string
	list     []announce.Address
	problems map[netip.Addr]string
	leaving  bool
	dead     bool
}

func play(t *testing.T, names ...string) *agents {
	p := &agents{t: t, now: time.Unix(1000, 0), live: map[string]*agent{}}
	for _, n := range names {
		p.live[n] = &agent{}
	}
	p.start("one")
	return p
}

// start begins a run of the control plane.
func (p *agents) start(epoch string) {
	p.board = NewBoard(epoch, p.now)
	may := map[string]bool{}
	for n := range p.live {
		may[n] = true
	}
	p.board.SetNodes(may)
}

// pass lets time pass, in which everybody alive is asked in each interval. It returns for how long nobody was announcing addr.
func (p *agents) pass(d time.Duration, addr netip.Addr) (gap time.Duration) {
	p.t.Helper()
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(announce.Interval) {
		for n, a := range p.live {
			if a.dead {
				continue
			}
			asked, _ := p.board.Ask(n)
			var reply announce.Reply
			if asked.Full {
				a.revision, a.list = asked.Revision, asked.Addresses
			} else if a.revision != asked.Revision {
				for _, l := range a.list {
					reply.Addresses = append(reply.Addresses, l.Addr)
				}
			}
			reply.Revision, reply.Leaving, reply.Problems = a.revision, a.leaving, a.problems
			p.board.Heard(p.now, n, asked, reply)
		}
		p.board.Step(p.now)
		if len(p.announcers(addr)) == 0 {
			gap += announce.Interval
		}
	}
	return gap
}

// announcers are the nodes that announce an address.
func (p *agents) announcers(addr netip.Addr) (all []string) {
	for n, a := range p.live {
		if _, bad := a.problems[addr]; !a.dead && !bad && slices.ContainsFunc(a.list, func(l announce.Address) bool { return l.Addr == addr }) {
			all = append(all, n)
		}
	}
	return all
}

// one is the node that alone announces an address.
func (p *agents) one(addr netip.Addr) string {
	p.t.Helper()
	all := p.announcers(addr)
	node, why := p.board.Where(addr)
	if len(all) != 1 || node != all[0] {
		p.t.Fatalf("%s is announced by %v, and the board says %q %q", addr, all, node, why)
	}
	return node
}

var vip = netip.MustParseAddr("192.0.2.1")

func TestBoardMoves(t *testing.T) {
	p := play(t, "a", "b", "c")
	p.board.Want([]Announce{{Addr: vip}})
	p.pass(3*time.Second, vip)
	first := p.one(vip)
	if !p.live[first].list[0].Probe {
		t.Error("a new address is not probed")
	}
	p.live[first].dead = true
	if gap := p.pass(3*time.Second, vip); gap > announce.Silence+2*announce.Interval {
		t.Errorf("nobody announced it for %s after the death of its node", gap)
	}
	second := p.one(vip)
	if second == first || p.live[second].list[0].Probe {
		t.Errorf("%s took over from %s, probing %v", second, first, p.live[second].list[0].Probe)
	}
	p.live[second].leaving = true
	if gap := p.pass(2*time.Second, vip); gap != 0 {
		t.Errorf("handed over, and nobody announced it for %s", gap)
	}
	if third := p.one(vip); third == second {
		t.Errorf("%s is leaving and has it still", second)
	}
	if by, nobody, moves := p.board.Count(); by[p.one(vip)] != 1 || by[second] != 0 || nobody != 0 || moves != 2 {
		t.Errorf("counted are %v, %d without a node, %d moves", by, nobody, moves)
	}
	p.board.Want(nil)
	p.pass(time.Second, vip)
	if all := p.announcers(vip); len(all) != 0 {
		t.Errorf("nobody wants it, and %v announce it", all)
	}
	for n := range p.live {
		if !p.live[n].dead && !p.board.Idle(n) {
			t.Errorf("node %s is still asked", n)
		}
	}
}

// TestBoardRestart: a control plane that begins learns who announces what, and moves nothing.
func TestBoardRestart(t *testing.T) {
	p := play(t, "a", "b", "c")
	other := netip.MustParseAddr("192.0.2.2")
	p.board.Want([]Announce{{Addr: vip}, {Addr: other}})
	p.pass(10*time.Second, vip)
	before := [2]string{p.one(vip), p.one(other)}
	p.start("two")
	p.board.Want([]Announce{{Addr: vip}, {Addr: other}})
	if gap := p.pass(10*time.Second, vip); gap != 0 {
		t.Errorf("nobody announced it for %s", gap)
	}
	if after := [2]string{p.one(vip), p.one(other)}; after != before {
		t.Errorf("%v, before the restart %v", after, before)
	}
	p.start("three")
	p.pass(2*time.Second, vip) // all Services were deleted meanwhile
	if all := p.announcers(vip); len(all) != 0 {
		t.Errorf("%v still announce it", all)
	}
}

func TestBoardProblems(t *testing.T) {
	p := play(t, "a", "b")
	inUse := map[netip.Addr]string{vip: "02:00:00:00:00:09 on link eth0 answers for it"}
	p.live["a"].problems, p.live["b"].problems = inUse, inUse
	p.board.Want([]Announce{{Addr: vip}})
	p.pass(3*time.Second, vip)
	if node, why := p.board.Where(vip); node != "" || why != "on node a: 02:00:00:00:00:09 on link eth0 answers for it" {
		t.Errorf("%q %q", node, why)
	}
	for range 3 * tryAgain / announce.Interval { // tried again, and told in the same words
		p.pass(announce.Interval, vip)
		if node, again := p.board.Where(vip); node != "" || again != "on node a: 02:00:00:00:00:09 on link eth0 answers for it" {
			t.Fatalf("%q %q", node, again)
		}
	}
	p.live["b"].problems = nil
	p.pass(tryAgain+time.Second, vip)
	if n := p.one(vip); n != "b" {
		t.Errorf("%s announces it", n)
	}
	p.board.Want([]Announce{{Addr: vip, Limited: true}})
	p.pass(time.Second, vip)
	if node, why := p.board.Where(vip); node != "" || why != "no node has a ready endpoint, and externalTrafficPolicy is Local" {
		t.Errorf("%q %q", node, why)
	}
	p.board.Want([]Announce{{Addr: vip, Limited: true, Only: []string{"b"}}})
	p.pass(time.Second, vip)
	if n := p.one(vip); n != "b" {
		t.Errorf("%s announces it", n)
	}
	p.live["a"].dead, p.live["b"].dead = true, true
	p.pass(3*time.Second, vip)
	if node, why := p.board.Where(vip); node != "" || why != "no node that may announce it answers" {
		t.Errorf("%q %q", node, why)
	}
}
