package issuers

import (
	"errors"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/user"
)

// After is first, and these users where first knows nobody. The file has the last word about those who show nothing.
func (u Users) After(first authenticator.Request) authenticator.Request {
	a := after{first: first, users: u.Request, decided: u.Anonymous != nil}
	if u.Anonymous != nil && u.Anonymous.Enabled {
		a.nobody = anonymous.NewAuthenticator(u.Anonymous.Conditions)
	}
	return a
}

type after struct {
	first, users authenticator.Request
	decided      bool                  // who shows nothing is not first's to say
	nobody       authenticator.Request // of those who show nothing; nil: refused, if that is decided
}

// AuthenticateRequest is part of authenticator.Request.
func (a after) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	answer, ok, err := a.first.AuthenticateRequest(r)
	if ok && answer.User.GetName() != user.Anonymous {
		return answer, true, nil
	}
	byToken, known, wrong := a.users.AuthenticateRequest(r)
	switch {
	case known:
		return byToken, true, nil
	case ok && !a.decided:
		return answer, true, nil
	case a.nobody != nil && err == nil && wrong == nil:
		return a.nobody.AuthenticateRequest(r)
	}
	return nil, false, errors.Join(err, wrong)
}
