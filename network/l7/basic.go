package l7

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"sync"

	"fairlead.dev/fairlead/network/l7/htpasswd"
	"fairlead.dev/fairlead/network/l7/route"
)

// mostKnown is how many right passwords are remembered, by a hash over password and hash. Checking a bcrypt hash takes tens of
// milliseconds on purpose.
const mostKnown = 4096

// passwords checks passwords, one at a time: many wrong ones cost no more than one processor.
type passwords struct {
	mu    sync.Mutex // held while one is checked
	known sync.Map   // [32]byte -> true
	count int        // of known
}

func (p *passwords) right(hash, user, password string) (bool, error) {
	key := sha256.Sum256([]byte(strconv.Quote(hash) + strconv.Quote(user) + strconv.Quote(password)))
	if _, ok := p.known.Load(key); ok {
		return true, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ok, err := htpasswd.Check(hash, password)
	if ok {
		if p.count++; p.count > mostKnown {
			p.known.Clear()
			p.count = 1
		}
		p.known.Store(key, true)
	}
	return ok, err
}

// known checks the user and password, where the rule asks for them.
func (x *exchange) known() bool {
	b := x.plan.Basic
	if b == nil {
		return true
	}
	user, password, given := x.r.BasicAuth()
	if given {
		hash, is := x.hashOf(b, user)
		if is {
			right, err := x.passwords.right(hash, user, password)
			if err != nil {
				x.log.Warn("a password cannot be checked", "secret", b.Secret, "user", user, "err", err)
			}
			if right {
				return true
			}
		}
	}
	x.w.Header().Set("WWW-Authenticate", "Basic realm="+strconv.Quote(b.Realm))
	x.fail(http.StatusUnauthorized, "a user and a password are asked for")
	return false
}

func (x *exchange) hashOf(b *route.BasicAuth, user string) (string, bool) {
	data := x.config.Secret(b.Secret)
	if b.ByUser {
		hash, is := data[user]
		return string(hash), is
	}
	return htpasswd.Find(data["auth"], user)
}
