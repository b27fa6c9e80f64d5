package ingress

import (
	"net/netip"
	"slices"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// settings are what the annotations of an Ingress say, as the rows have read them.
type settings struct {
	regex                       bool
	rewrite, appRoot            string
	aliases                     []string
	www                         bool
	sslRedirect                 *bool
	forceSSL                    bool
	permanent, temporal         string
	permanentCode, temporalCode int
	forwardedPrefix, vhost      string

	protocol     route.BackendProtocol
	secure       bool   // TLS to the backends
	foreign      string // a protocol of backends that is not spoken here
	sslName      string
	sslSNI       bool
	sslVerify    bool
	sslSecret    string
	balance      route.Balance
	sticky       bool
	affinity     route.Affinity
	cookieAge    int // seconds
	cookieExpire int

	maxBody                       int64
	bufferRequest, bufferResponse bool
	connect, send, read           int // seconds
	retries                       []string
	retryTries, retryTimeout      int
	quiet                         bool
	request, response             route.HeaderEdit
	headersFrom                   string // the ConfigMap with headers of answers
	mirror                        string

	allow, deny, unlimited                 []netip.Prefix
	perSecond, perMinute, burst, atOnce    int
	cors                                   bool
	corsSet                                route.CORS
	corsAge                                int
	authType, authSecret, authRealm        string
	authByUser                             bool
	authURL, authMethod, signIn, signParam string
	authCopy                               []string
	authRedirect                           string
	canary                                 canary
	clientSecret, clientVerify             string // certificates of clients
	clientError                            string
	clientDepth                            int
	clientPass                             bool
	passthrough                            bool
	instead                                string // the Service that default-backend names
	errors                                 []int
	keepErrors                             bool

	closed string // why nothing of the Ingress may be served: a guard that cannot be
}

// canary is what makes an Ingress an alternative of another's paths.
type canary struct {
	on                             bool
	header, value, pattern, cookie string
	weight, total                  int
}

// defaults are ingress-nginx' for what is not written, where it matters.
func defaults() settings {
	return settings{
		permanentCode: 301, temporalCode: 302,
		affinity:   route.Affinity{Cookie: "INGRESSCOOKIE"},
		burst:      5,
		retryTries: 3,
		corsSet: route.CORS{
			Origins:     []string{"*"},
			Methods:     []string{"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"},
			Headers:     []string{"DNT", "Keep-Alive", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control", "Content-Type", "Range", "Authorization"},
			Credentials: true,
		},
		corsAge:     1728000,
		signParam:   "rd",
		clientDepth: 1,
		canary:      canary{total: 100},
	}
}

// action is what is done with requests for every path of the Ingress, without where they go.
func (s *settings) action() route.Action {
	a := route.Action{
		Allow: s.allow, Deny: s.deny, Unlimited: s.unlimited, MaxBody: s.maxBody, Balance: s.balance, Quiet: s.quiet,
		Limit: s.limit(), Retry: s.retry(),
		Timeouts:      route.Timeouts{Connect: seconds(s.connect), Send: seconds(s.send), Read: seconds(s.read)},
		BufferRequest: s.bufferRequest, BufferResponse: s.bufferResponse,
	}
	if s.cors {
		c := s.corsSet
		c.MaxAge = seconds(s.corsAge)
		// ingress-nginx says * then, with which browsers take no credentials: not to say the origin instead, with which they do.
		c.Credentials = c.Credentials && !slices.Contains(c.Origins, "*")
		a.CORS = &c
	}
	if s.sticky {
		c := s.affinity
		c.MaxAge = seconds(max(s.cookieAge, 0))
		if s.cookieAge == 0 {
			c.MaxAge = seconds(s.cookieExpire)
		}
		a.Affinity = &c
	}
	a.Request, a.Response = s.request, s.response
	if s.forwardedPrefix != "" {
		a.Request.Set = append(slices.Clip(a.Request.Set), route.Header{Name: "X-Forwarded-Prefix", Value: s.forwardedPrefix})
	}
	if s.vhost != "" {
		a.Rewrite = &route.Rewrite{Host: s.vhost}
	}
	return a
}

// limit is the stricter of the two rates, as both hold. They count for the Ingress as a whole,
// and 503 is the answer, as in ingress-nginx.
func (s *settings) limit() route.Limit {
	l := route.Limit{Connections: s.atOnce, Together: s.atOnce+s.perSecond+s.perMinute > 0}
	if s.perSecond > 0 {
		l.PerSecond, l.Burst = float64(s.perSecond), s.perSecond*s.burst
	}
	if rate := float64(s.perMinute) / 60; s.perMinute > 0 && (l.PerSecond == 0 || rate < l.PerSecond) {
		l.PerSecond, l.Burst = rate, s.perMinute*s.burst
	}
	if l.PerSecond > 0 {
		l.Status = 503
	}
	return l
}

// retry is proxy-next-upstream. Its tries count the first.
func (s *settings) retry() route.Retry {
	if s.retries == nil {
		return route.Retry{}
	}
	r := route.Retry{Tries: s.retryTries - 1, Deadline: seconds(s.retryTimeout)}
	if s.retryTries == 0 {
		r.Tries = manyTries
	}
	for _, on := range s.retries {
		switch on {
		case "off":
			return route.Retry{Never: true}
		case "error", "invalid_header":
			r.OnError = true
		case "timeout":
			r.OnSlow = true
		case "non_idempotent":
			r.Unsafe = true
		default:
			r.Codes = append(r.Codes, retryCodes[on])
		}
	}
	r.Never = r.Tries == 0
	return r
}

// manyTries stands for no bound.
const manyTries = 16

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// redirect is where every request for the Ingress is sent instead; nil: nowhere.
func (s *settings) redirect() *route.Redirect {
	switch {
	case s.temporal != "":
		return &route.Redirect{Status: s.temporalCode, URL: s.temporal}
	case s.permanent != "":
		return &route.Redirect{Status: s.permanentCode, URL: s.permanent}
	}
	return nil
}
