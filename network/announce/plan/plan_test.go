package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/network/announce/wire"
)

var (
	vip   = netip.MustParseAddr("192.0.2.9")
	six   = netip.MustParseAddr("2001:db8::9")
	other = wire.HW{2, 0, 0, 0, 0, 9}
	eth0  = Link{Index: 2, Name: "eth0", HW: wire.HW{2, 0, 0, 0, 0, 1}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
	eth1  = Link{Index: 3, Name: "eth1", HW: wire.HW{2, 0, 0, 0, 0, 2}, Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}, Four: true, Six: true}
)

// run is a machine and its clock.
type run struct {
	*Machine
	t   *testing.T
	now time.Time
}

func start(t *testing.T, links ...Link) *run {
	r := &run{NewMachine(), t, time.Unix(1000, 0)}
	r.SetLinks(r.now, links, nil)
	return r
}

func (r *run) told(full ...announce.Address) announce.Reply {
	request := announce.Request{Revision: fmt.Sprint(full), Full: true, Addresses: full}
	r.Told(r.now, request)
	if r.Placing() {
		var owned []netip.Addr
		for a := range r.owned {
			owned = append(owned, a)
		}
		r.SetLinks(r.now, r.links, owned)
	}
	return r.Told(r.now, announce.Request{Revision: request.Revision})
}

// pass lets time pass, and says what was sent when: Q or N for a question or news, with the link and the milliseconds.
func (r *run) pass(d time.Duration) string {
	begin, end := r.now, r.now.Add(d)
	var said []string
	for {
		frames, next := r.Due(r.now)
		for _, f := range frames {
			h, ok := wire.Parse(f.Frame)
			kind := "N"
			if !ok {
				r.t.Fatalf("sent nonsense: %x", f.Frame)
			} else if h.Asks.IsValid() {
				kind = "Q"
			}
			said = append(said, fmt.Sprintf("%s%d@%d", kind, f.Link, r.now.Sub(begin).Milliseconds()))
		}
		if next.IsZero() || next.After(end) {
			r.now = end
			return strings.Join(said, " ")
		}
		r.now = next
	}
}

func (r *run) want(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// asks is whether a question for an address on a link is answered.
func (r *run) asks(link int, a netip.Addr) bool {
	return r.Answer(link, wire.Heard{From: other, Asks: a, Asker: netip.MustParseAddr("192.0.2.77")}) != nil
}

const told = "N2@0 N2@100 N2@300 N2@700 N2@1500 N2@3000 N2@6000"

func TestProbedThenTold(t *testing.T) {
	r := start(t, eth0, eth1)
	if reply := r.told(announce.Address{Addr: vip, Probe: true}); len(reply.Pending) != 1 {
		t.Errorf("%+v", reply)
	}
	r.want("asked for", r.pass(449*time.Millisecond), "Q2@0 Q2@150 Q2@300")
	if r.asks(2, vip) {
		t.Error("answered for an address that may be somebody else's")
	}
	r.pass(time.Millisecond)
	if !r.asks(2, vip) || r.asks(3, vip) || r.asks(2, six) {
		t.Error("it is to be answered for on its own link, and nothing else anywhere")
	}
	if reply := r.told(announce.Address{Addr: vip}); len(reply.Pending)+len(reply.Problems) != 0 {
		t.Errorf("%+v", reply)
	}
}

func TestTakenOver(t *testing.T) {
	r := start(t, eth0)
	r.told(announce.Address{Addr: vip})
	r.want("told", r.pass(65*time.Second), told+" N2@36000")
	r.told()
	r.want("no more", r.pass(time.Minute), "")
	if r.asks(2, vip) || !r.Empty() {
		t.Error("answered for what it has no more")
	}
}

func TestSomebodyElse(t *testing.T) {
	r := start(t, eth0)
	r.told(announce.Address{Addr: vip, Probe: true})
	r.pass(100 * time.Millisecond)
	r.Heard(r.now, 2, wire.Heard{From: eth0.HW, Tells: vip}) // itself
	r.Heard(r.now, 2, wire.Heard{From: other, Tells: vip})
	r.pass(time.Second)
	reply := r.told(announce.Address{Addr: vip, Probe: true})
	if reply.Problems[vip] != "02:00:00:00:00:09 on link eth0 answers for it" || r.asks(2, vip) {
		t.Errorf("%+v", reply)
	}
	r.want("asked again, and told when nobody answers", r.pass(10*time.Second), "Q2@9000 Q2@9150 Q2@9300 N2@9450 N2@9550 N2@9750")
	r.told(announce.Address{Addr: vip})
	r.Heard(r.now, 2, wire.Heard{From: other, Tells: vip})
	r.want("defended", r.pass(50*time.Millisecond), "N2@0")
	r.Heard(r.now, 2, wire.Heard{From: other, Tells: vip})
	if reply := r.told(announce.Address{Addr: vip}); len(reply.Rivals) != 0 {
		t.Errorf("one that may be the node before: %+v", reply)
	}
	r.want("not in a quarrel", r.pass(40*time.Millisecond), "")
}

func TestRival(t *testing.T) {
	r := start(t, eth0)
	r.told(announce.Address{Addr: vip})
	r.pass(2 * time.Second)
	r.told(announce.Address{Addr: vip})
	r.Heard(r.now, 2, wire.Heard{From: other, Tells: vip})
	if reply := r.told(announce.Address{Addr: vip}); reply.Rivals[vip] != "02:00:00:00:00:09 on link eth0 claims it as well" || !r.asks(2, vip) {
		t.Errorf("%+v", reply)
	}
	r.pass(rivalry)
	if reply := r.told(announce.Address{Addr: vip}); len(reply.Rivals) != 0 {
		t.Errorf("a minute later: %+v", reply)
	}
}

func TestHandedOver(t *testing.T) {
	r := start(t, eth0)
	r.told(announce.Address{Addr: vip})
	r.pass(7 * time.Second)
	r.told(announce.Address{Addr: vip, Ending: true})
	r.Heard(r.now, 2, wire.Heard{From: other, Tells: vip}) // who takes it
	r.want("not defended", r.pass(time.Second), "")
	if !r.asks(2, vip) {
		t.Error("it is to be answered for until somebody else does")
	}
	r.Leave()
	if !r.told(announce.Address{Addr: vip, Ending: true}).Leaving || r.Left(r.now) {
		t.Error("it leaves, and has not left")
	}
	r.told()
	if !r.Left(r.now) {
		t.Error("it has left")
	}
}

// TestCutOff: a node that the control plane does not reach gives way to who was given its addresses instead, and goes on otherwise.
func TestCutOff(t *testing.T) {
	r := start(t, eth0)
	r.told(announce.Address{Addr: vip})
	r.pass(time.Minute)
	if !r.asks(2, vip) {
		t.Error("it stopped because the control plane is away")
	}
	r.Heard(r.now, 2, wire.Heard{From: other, Tells: vip})
	r.want("after it was taken", r.pass(time.Minute), "")
	if r.asks(2, vip) {
		t.Error("it answers for what another node has")
	}
	r.told(announce.Address{Addr: vip})
	r.want("when it is told again", r.pass(50*time.Millisecond), "N2@0")
	r.Leave()
	if r.pass(time.Second); !r.Left(r.now) {
		t.Error("it waits for a control plane that is away")
	}
}

func TestLinks(t *testing.T) {
	r := start(t, eth0, eth1)
	far := netip.MustParseAddr("203.0.113.1")
	r.told(announce.Address{Addr: far}, announce.Address{Addr: six})
	r.want("by the default route", r.pass(10*time.Millisecond), "N3@0 N3@0")
	r.SetLinks(r.now, []Link{eth0}, nil)
	reply := r.told(announce.Address{Addr: far}, announce.Address{Addr: six})
	if reply.Problems[far] != "no link has a network with this address, and none a default route of its family" {
		t.Errorf("%+v", reply)
	}
	r.SetLinks(r.now, []Link{eth0, eth1}, []netip.Addr{six})
	r.want("the link is back, and one address is the node's own", r.pass(10*time.Millisecond), "N3@0")
	if r.asks(3, six) || len(r.Uses()) != 1 {
		t.Errorf("the kernel answers for the node's own; uses %v", r.Uses())
	}
	changed := eth1
	changed.HW[5] = 7
	r.SetLinks(r.now, []Link{eth0, changed}, []netip.Addr{six})
	r.want("the link has another address", r.pass(10*time.Millisecond), "N3@0")
}

// TestLearned: a control plane that begins is told what the node has.
func TestLearned(t *testing.T) {
	r := start(t, eth0)
	r.told(announce.Address{Addr: vip})
	if reply := r.Told(r.now, announce.Request{Revision: "new"}); fmt.Sprint(reply.Addresses) != "[192.0.2.9]" || reply.Revision == "new" {
		t.Errorf("%+v", reply)
	}
}
