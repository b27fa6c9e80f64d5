package l7

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
	"fairlead.dev/fairlead/network/lb"
)

// Config is what an Engine is told at its beginning.
type Config struct {
	// Secret returns the data of a Secret that the table names, nil if there is none. It is asked for each request that needs it.
	Secret func(types.NamespacedName) map[string][]byte
	// Certificate returns the certificate and key of a Secret that the table names, nil if there is none. It is asked for each
	// handshake, so the parsed certificate should be at hand, with its Leaf.
	Certificate func(types.NamespacedName) *tls.Certificate
	// MayAsk says whether a server of an ExternalAuth may be at an address that its URL has led to; nil: anywhere but on the node's
	// own loopback and on link-local addresses.
	MayAsk func(netip.Addr) bool
	// AccessLog gets a line of JSON for each request; nil: there is no such log. One request of AccessEvery is written (0 and 1: all).
	AccessLog   io.Writer
	AccessEvery int
}

// Engine serves a route.Table.
type Engine struct {
	config Config
	log    *slog.Logger

	table      atomic.Pointer[served]
	pools      upstream.Pools
	dialects   dialects
	limiters   limiters
	passwords  passwords
	tls        *tls.Config
	selfSigned func() (*tls.Certificate, error)
	mirrored   atomic.Int32 // copies of requests under way
	metrics    *metrics
	access     *accessLog

	lanes   []*lane
	noLanes bool // everything is net/http's, for tests that compare
	http    *http.Server
	queue   *queue // of connections for http
	errands sync.WaitGroup

	most    int // descriptor of a connection that is accepted
	each    int // connections of a client
	crowd   crowd
	mu      sync.Mutex
	closing bool
	doors   map[*door]bool
	open    map[*connection]bool // that are not http's, or not yet
	outside *http.Client         // of external authorization by URL
}

// New returns an engine that serves nothing yet: every request gets 404.
func New(config Config, log *slog.Logger) *Engine {
	e := &Engine{
		config: config, log: log, metrics: newMetrics(), access: newAccessLog(config.AccessLog, config.AccessEvery),
		queue: newQueue(), doors: map[*door]bool{}, open: map[*connection]bool{},
		selfSigned: sync.OnceValues(selfSigned), most: mostDescriptor(),
	}
	e.each = max(e.most/share, 1)
	e.tls = &tls.Config{GetConfigForClient: e.configForClient}
	e.outside = newOutside(config.MayAsk)
	e.http = e.newServer()
	e.Serve(&route.Table{})
	e.lanes = e.newLanes()
	go func() {
		if err := e.http.Serve(e.queue); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP is not served any more", "err", err)
		}
	}()
	return e
}

// newLanes makes a lane for each processor.
func (e *Engine) newLanes() (all []*lane) {
	for range min(runtime.GOMAXPROCS(0), 16) {
		l, err := newLane(e)
		if err != nil {
			e.log.Error("there are fewer lanes for connections than processors", "err", err)
			break
		}
		all = append(all, l)
	}
	return all
}

// Serve has every request from now on meet the rules of a table, which nobody changes any more.
func (e *Engine) Serve(table *route.Table) {
	e.table.Store(&served{Table: table})
	e.pools.Sweep()
}

// Endpoints says which endpoints a Service's port has from now on, as network/lb has derived them: none means that its requests get 503.
func (e *Engine) Endpoints(service types.NamespacedName, port int32, backends []lb.Backend) {
	e.pools.Set(upstream.Key{Service: service, Port: port}, backends)
}

// LocalEndpoints says the same of those on this node, for backends that are Local.
func (e *Engine) LocalEndpoints(service types.NamespacedName, port int32, backends []lb.Backend) {
	e.pools.Set(upstream.Key{Service: service, Port: port, Local: true}, backends)
}

// PointOf tells where a connection came in, from its socket.
type PointOf func(fd int) (route.Point, error)

// At is the PointOf a socket that is one Point's alone.
func At(p route.Point) PointOf { return func(int) (route.Point, error) { return p, nil } }

var errShutDown = errors.New("the L7 engine has been shut down")

// ride puts a connection, whose TLS has begun, in the lane that has fewest.
func (e *Engine) ride(c *connection, secure *tls.Conn) {
	best := e.lanes[0]
	for _, l := range e.lanes[1:] {
		if l.size.Load() < best.size.Load() {
			best = l
		}
	}
	fd, err := socketOf(c.Conn)
	if err != nil {
		e.log.Warn("a connection cannot be served", "client", c.client, "err", err)
		_ = c.Close() // what is left of it
		return
	}
	if !best.adopt(newSession(best, fd, c, secure)) {
		closeSocket(fd)
		c.seat.leave()
	}
}

// Shutdown ends the engine: listeners are closed, requests under way get their answers, and what is still open when ctx ends is cut.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	e.closing = true
	doors := slices.Collect(maps.Keys(e.doors))
	e.mu.Unlock()
	for _, d := range doors {
		e.shut(d)
	}
	for _, l := range e.lanes {
		l.stop(false)
	}
	err := e.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, e.http.Close())
	}
	<-e.idle(ctx)
	for _, l := range e.lanes {
		select {
		case <-l.stopped:
		case <-ctx.Done():
			l.stop(true)
			<-l.stopped
		}
	}
	select {
	case <-e.errandsDone(): // all were answered or cancelled
	case <-ctx.Done():
	}
	e.mu.Lock()
	for c := range e.open {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.queue.Close()
	return err
}

// errandsDone is closed when no errand runs. There are no lanes any more.
func (e *Engine) errandsDone() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		e.errands.Wait()
		close(done)
	}()
	return done
}

// idle is closed when no connection is open besides http's, or with ctx.
func (e *Engine) idle(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			e.mu.Lock()
			n := len(e.open)
			e.mu.Unlock()
			if n == 0 {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return done
}
