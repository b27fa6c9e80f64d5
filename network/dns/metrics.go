package dns

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/network/dns/zone"
)

// The names and labels of the metrics are those of CoreDNS, so that its dashboards and alerts work. As in
// the configuration kubeadm deploys there is one server with the zone "." and no views.

// Who answered, the label plugin of responses.
const (
	byZone = iota // the cluster zone; also what was refused
	byCache
	byForward
	answerers
)

var answererNames = [answerers]string{"kubernetes", "cache", "forward"}

// askedTypes are the query types counted by name, and their places; all others are "other".
var askedTypes = [...]struct {
	typ  uint16
	name string
}{
	{0, "other"}, {zone.TypeA, "A"}, {zone.TypeAAAA, "AAAA"}, {zone.TypeSRV, "SRV"}, {zone.TypePTR, "PTR"}, {zone.TypeTXT, "TXT"}, {zone.TypeCNAME, "CNAME"},
	{zone.TypeNS, "NS"}, {zone.TypeSOA, "SOA"}, {15, "MX"}, {64, "SVCB"}, {65, "HTTPS"}, {zone.TypeANY, "ANY"},
}

// typePlace leads from a type below 66 to its place in askedTypes.
var typePlace = func() (t [66]uint8) {
	for i, a := range askedTypes {
		if int(a.typ) < len(t) {
			t[a.typ] = uint8(i)
		}
	}
	t[0] = 0
	return t
}()

func placeOf(typ uint16) int {
	switch {
	case int(typ) < len(typePlace):
		return int(typePlace[typ])
	case typ == zone.TypeANY:
		return len(askedTypes) - 1
	}
	return 0
}

// rcodes are the response codes counted by name.
var rcodes = [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

// Upper bounds of the histograms' buckets: CoreDNS's.
var (
	timeBuckets = prometheus.ExponentialBuckets(0.00025, 2, 16)
	sizeBuckets = []float64{0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3}
)

// histogram counts whole numbers (nanoseconds, bytes) in at most 16 buckets.
type histogram struct {
	counts [17]atomic.Uint64
	sum    atomic.Uint64
}

// observe adds n observations of v. bounds are in units of v.
func (h *histogram) observe(bounds []uint64, v, n uint64) {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	h.counts[i].Add(n)
	h.sum.Add(v * n)
}

// counters are what one socket did. Each belongs to one loop, so that counting costs a few nanoseconds: no
// two processors write the same line of memory. Only answers that come later are counted from elsewhere.
type counters struct {
	network, family string

	requests  [len(askedTypes)]atomic.Uint64
	responses [answerers][len(rcodes) + 1]atomic.Uint64 // the last one: other codes
	dnssec    atomic.Uint64
	took      histogram // nanoseconds
	sizeIn    histogram
	sizeOut   histogram
}

func newCounters(network string, at netip.Addr) *counters {
	family := "1"
	if at.Is6() {
		family = "2"
	}
	return &counters{network: network, family: family}
}

var (
	timeBounds = inUnits(timeBuckets, float64(time.Second))
	sizeBounds = inUnits(sizeBuckets, 1)
)

func inUnits(bounds []float64, unit float64) []uint64 {
	out := make([]uint64, len(bounds))
	for i, b := range bounds {
		out[i] = uint64(b * unit)
	}
	return out
}

// asked counts a query.
func (t *counters) asked(r *zone.Request) {
	t.requests[placeOf(r.Type)].Add(1)
	if r.DO {
		t.dnssec.Add(1)
	}
	t.sizeIn.observe(sizeBounds, uint64(len(r.Msg)), 1)
}

// answered counts a response.
func (t *counters) answered(b []byte, by int) {
	t.responses[by][min(int(b[3]&0xf), len(rcodes))].Add(1)
	t.sizeOut.observe(sizeBounds, uint64(len(b)), 1)
}

// sender says who gave an answer that came later: of an upstream server's the server takes the authority away.
func sender(b []byte) int {
	if binary.BigEndian.Uint16(b[2:])&zone.FlagAA != 0 {
		return byZone
	}
	return byForward
}

// lasted counts how long n responses took.
func (t *counters) lasted(d time.Duration, n int) {
	t.took.observe(timeBounds, uint64(max(d, 0)), uint64(n))
}

// forwardStats counts what was asked of upstream servers, and what the cache was good for.
type forwardStats struct {
	requests  *prometheus.CounterVec // to
	responses *prometheus.CounterVec // to, rcode
	took      *prometheus.HistogramVec
	rejects   atomic.Uint64
	stale     atomic.Uint64
	hits      [2]atomic.Uint64 // answers, denials
	misses    atomic.Uint64
}

func newForwardStats() *forwardStats {
	return &forwardStats{
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coredns_forward_requests_total", Help: "Queries sent upstream, per server."}, []string{"to"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coredns_forward_responses_total", Help: "Answers from upstream, per server and response code."}, []string{"to", "rcode"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "coredns_forward_request_duration_seconds",
			Help: "How long upstream servers took.", Buckets: timeBuckets}, []string{"to", "rcode"}),
	}
}

// answered counts an upstream server's answer.
func (s *forwardStats) answered(server string, rcode byte, took time.Duration) {
	code := strconv.Itoa(int(rcode))
	if int(rcode) < len(rcodes) {
		code = rcodes[rcode]
	}
	s.responses.WithLabelValues(server, code).Inc()
	s.took.WithLabelValues(server, code).Observe(took.Seconds())
}

// looked counts what the cache said.
func (s *forwardStats) looked(v verdict, answer []byte) {
	if v == missing || v == failed {
		s.misses.Add(1)
		return
	}
	if v == stale {
		s.stale.Add(1)
	}
	kind := 1
	if positive(answer) {
		kind = 0
	}
	s.hits[kind].Add(1)
}
