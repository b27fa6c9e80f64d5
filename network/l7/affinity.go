package l7

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// A stay is what the cookie of an Affinity says: the endpoint, and where sessions end, when it began and was used last. It is no
// secret and no proof: a client that changes it chooses an endpoint that it could have been given.
type stay struct {
	endpoint    string
	begun, used int64 // Unix seconds
}

func (s stay) String() string {
	if s.begun == 0 {
		return s.endpoint
	}
	return fmt.Sprintf("%s.%x.%x", s.endpoint, s.begun, s.used)
}

func parseStay(text string) (s stay) {
	parts := strings.Split(text, ".")
	s.endpoint = parts[0]
	if len(parts) == 3 {
		s.begun, _ = strconv.ParseInt(parts[1], 16, 64) // 0, which is long ago, if it is no number
		s.used, _ = strconv.ParseInt(parts[2], 16, 64)
	}
	return s
}

func bounded(a *route.Affinity) bool { return a.Absolute > 0 || a.Idle > 0 }

func (s stay) over(a *route.Affinity, now time.Time) bool {
	since := func(at int64) time.Duration { return now.Sub(time.Unix(at, 0)) }
	return a.Absolute > 0 && since(s.begun) > a.Absolute || a.Idle > 0 && since(s.used) > a.Idle
}

// sticky finds the endpoint that the client's cookie names, and returns its backend; nil if there is none.
func (x *exchange) sticky() *target {
	a := x.plan.Affinity
	if a == nil {
		return nil
	}
	value, is := (*values)(x).Cookie(a.Cookie)
	if !is {
		return nil
	}
	s := parseStay(value)
	if s.over(a, x.begin) {
		return nil
	}
	for i := range x.plan.targets {
		t := &x.plan.targets[i]
		if e := t.pool.ByID(s.endpoint); e != nil && t.Broken == "" && !e.Failing() {
			x.kept, x.stay = e, s
			return t
		}
	}
	return nil
}

// stick says in the answer which endpoint the client is to keep to, when that is new.
func (x *exchange) stick(h http.Header, a *attempt) {
	affinity := x.plan.Affinity
	if affinity == nil || a.endpoint == x.kept && affinity.Idle == 0 {
		return
	}
	h.Add("Set-Cookie", x.cookie(affinity, a.endpoint).String())
}

func (x *exchange) cookie(a *route.Affinity, e *upstream.Endpoint) *http.Cookie {
	s := stay{endpoint: e.ID}
	if bounded(a) {
		s.begun, s.used = x.begin.Unix(), x.begin.Unix()
		if e == x.kept {
			s.begun = x.stay.begun
		}
	}
	c := &http.Cookie{Name: a.Cookie, Value: s.String(), Path: a.Path, Domain: a.Domain, MaxAge: int(a.MaxAge.Seconds()), HttpOnly: true, Secure: a.Secure}
	if c.MaxAge > 0 {
		c.Expires = x.begin.Add(a.MaxAge)
	}
	if c.Path == "" {
		c.Path = "/"
		if p := &x.rule.Match.Path; p.Kind != route.Regex && p.Value != "" {
			c.Path = p.Value
		}
	}
	switch a.SameSite {
	case "Strict":
		c.SameSite = http.SameSiteStrictMode
	case "Lax":
		c.SameSite = http.SameSiteLaxMode
	case "None":
		c.SameSite = http.SameSiteNoneMode
	}
	return c
}
