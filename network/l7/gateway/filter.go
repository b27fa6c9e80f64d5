package gateway

import (
	"fmt"
	"net/textproto"
	"slices"
	"time"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// filtered is what the filters of a rule or backend come to.
type filtered struct {
	request, response route.HeaderEdit
	mirrors           []route.Mirror
	redirect          *route.Redirect
	rewrite           *route.Rewrite
	cors              *route.CORS
	respond           *route.Respond
}

// filters is what a list of filters comes to. An error says what is not supported.
func (w *translator) filters(list []gw.HTTPRouteFilter) (filtered, error) {
	var out filtered
	var err error
	for i := range list {
		f := &list[i]
		switch {
		case f.RequestHeaderModifier != nil:
			out.request = headers(f.RequestHeaderModifier)
		case f.ResponseHeaderModifier != nil:
			out.response = headers(f.ResponseHeaderModifier)
		case f.RequestMirror != nil:
			out.mirrors = append(out.mirrors, w.mirror(f.RequestMirror))
		case f.RequestRedirect != nil:
			out.redirect, err = redirect(f.RequestRedirect)
		case f.URLRewrite != nil:
			out.rewrite = &route.Rewrite{Host: text(f.URLRewrite.Hostname)}
			out.rewrite.Path, err = pathRewrite(f.URLRewrite.Path)
		case f.CORS != nil:
			out.cors = cors(f.CORS)
		case f.ExtensionRef != nil:
			out.respond = w.extension(f.ExtensionRef)
		default:
			err = fmt.Errorf("filters of type %s are not supported", f.Type)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// extension is an answer instead of a filter that nobody here knows: what it is for must not happen without it.
func (w *translator) extension(ref *gw.LocalObjectReference) *route.Respond {
	message := fmt.Sprintf("A filter cannot be a %s: there are no extensions", ref.Kind)
	w.resolved = no(gw.RouteReasonInvalidKind, message)
	return &route.Respond{Status: 500, Body: message}
}

func headers(f *gw.HTTPHeaderFilter) route.HeaderEdit {
	var e route.HeaderEdit
	for _, h := range f.Set {
		e.Set = append(e.Set, route.Header{Name: textproto.CanonicalMIMEHeaderKey(string(h.Name)), Value: h.Value})
	}
	for _, h := range f.Add {
		e.Add = append(e.Add, route.Header{Name: textproto.CanonicalMIMEHeaderKey(string(h.Name)), Value: h.Value})
	}
	for _, name := range f.Remove {
		e.Remove = append(e.Remove, textproto.CanonicalMIMEHeaderKey(name))
	}
	return e
}

func (w *translator) mirror(f *gw.HTTPRequestMirrorFilter) route.Mirror {
	m := route.Mirror{Backend: w.backend(f.BackendRef, nil)}
	switch {
	case f.Percent != nil:
		m.Numerator, m.Denominator = int(*f.Percent), 100
	case f.Fraction != nil:
		m.Numerator, m.Denominator = int(f.Fraction.Numerator), 100
		if f.Fraction.Denominator != nil {
			m.Denominator = int(*f.Fraction.Denominator)
		}
	}
	return m
}

func redirect(f *gw.HTTPRequestRedirectFilter) (*route.Redirect, error) {
	r := &route.Redirect{Status: 302, Scheme: text(f.Scheme), Host: text(f.Hostname)}
	if f.StatusCode != nil {
		r.Status = *f.StatusCode
	}
	if f.Port != nil {
		r.Port = int(*f.Port)
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, r.Status) {
		return nil, fmt.Errorf("redirects with status %d are not supported: use 301, 302, 303, 307 or 308", r.Status)
	}
	if !slices.Contains([]string{"", "http", "https"}, r.Scheme) {
		return nil, fmt.Errorf("redirects to scheme %s are not supported: use http or https", r.Scheme)
	}
	var err error
	r.Path, err = pathRewrite(f.Path)
	return r, err
}

func pathRewrite(f *gw.HTTPPathModifier) (*route.PathRewrite, error) {
	switch {
	case f == nil:
		return nil, nil
	case f.Type == gw.FullPathHTTPPathModifier && f.ReplaceFullPath != nil:
		return &route.PathRewrite{Full: f.ReplaceFullPath}, nil
	case f.Type == gw.PrefixMatchHTTPPathModifier && f.ReplacePrefixMatch != nil:
		return &route.PathRewrite{Prefix: f.ReplacePrefixMatch}, nil
	}
	return nil, fmt.Errorf("path changes of type %s are not supported: use ReplaceFullPath or ReplacePrefixMatch", f.Type)
}

func cors(f *gw.HTTPCORSFilter) *route.CORS {
	return &route.CORS{
		Origins: texts(f.AllowOrigins), Methods: texts(f.AllowMethods), Headers: texts(f.AllowHeaders), Expose: texts(f.ExposeHeaders),
		Credentials: f.AllowCredentials != nil && *f.AllowCredentials, MaxAge: time.Duration(f.MaxAge) * time.Second,
	}
}

func texts[T ~string](list []T) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}
