// Package registry is how a node reaches registries of images: what a user may say of them (mirrors, plain HTTP, authorities,
// certificates, credentials, a proxy), the hosts directories by which containerd is told, and the credentials for an image.
// Everything but [Write], [Registries.CheckFiles] and the reading of password files only computes.
package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Registries are the settings of all registries. The zero value is everybody's way: HTTPS, the system's authorities, no credentials.
type Registries struct {
	// Proxy is what pulls go through.
	Proxy Proxy `json:"proxy,omitzero"`
	// Hosts are registries by the name that images have before their first slash, such as docker.io or 10.0.0.1:5000; Others: each that
	// has no entry of its own.
	Hosts map[string]Host `json:"hosts,omitempty"`
}

// Others stands for every registry that has no entry of its own.
const Others = "*"

// Proxy is a forward proxy, as programs know it from their environment.
type Proxy struct {
	HTTP  string `json:"http,omitempty"`  // URL of the proxy for http://
	HTTPS string `json:"https,omitempty"` // URL of the proxy for https://
	No    string `json:"no,omitempty"`    // what is reached without: hosts, .domains and networks, separated by commas
}

// Host is one registry, or a mirror.
type Host struct {
	Mirrors      []string `json:"mirrors,omitempty"`      // URLs that are tried first, in this order
	PlainHTTP    bool     `json:"plainHTTP,omitempty"`    // it speaks HTTP without TLS
	SkipVerify   bool     `json:"skipVerify,omitempty"`   // whoever answers is believed
	CA           string   `json:"ca,omitempty"`           // file of the authorities that sign its certificate
	ClientCert   string   `json:"clientCert,omitempty"`   // file of the certificate that is shown to it
	ClientKey    string   `json:"clientKey,omitempty"`    // file of its key
	Username     string   `json:"username,omitempty"`     // who asks
	Password     string   `json:"password,omitempty"`     // or
	PasswordFile string   `json:"passwordFile,omitempty"` // the file that holds it, read at every pull
}

// Problem is what is wrong with a setting.
type Problem struct {
	Path []string // of the setting, below the Registries
	Text string
}

// Secret reports whether the settings themselves hold a password.
func (r Registries) Secret() bool {
	for _, h := range r.Hosts {
		if h.Password != "" {
			return true
		}
	}
	return strings.Contains(r.Proxy.HTTP+r.Proxy.HTTPS, "@")
}

// CheckFiles finds the files that are missing, or are not what they are to be.
func (r Registries) CheckFiles() []Problem {
	return r.each(func(_ string, h Host) []Problem { return h.checkFiles() })
}

func (r Registries) each(check func(name string, h Host) []Problem) []Problem {
	var found []Problem
	for _, name := range slices.Sorted(maps.Keys(r.Hosts)) {
		for _, p := range check(name, r.Hosts[name]) {
			found = append(found, Problem{append([]string{"hosts", name}, p.Path...), p.Text})
		}
	}
	return found
}

// Check finds what cannot be as it is said, without a look at the files that are named.
func (r Registries) Check() []Problem {
	var found []Problem
	for _, p := range [][2]string{{"http", r.Proxy.HTTP}, {"https", r.Proxy.HTTPS}} {
		if p[1] == "" {
			continue
		}
		if u, err := url.Parse(p[1]); err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
			found = append(found, Problem{[]string{"proxy", p[0]}, "must be a URL such as http://proxy.example:3128"})
		}
	}
	return append(found, r.each(func(name string, h Host) []Problem { return h.check(name) })...)
}

var hostForm = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$`)

func (h Host) check(name string) []Problem {
	var found []Problem
	wrong := func(field, text string) { found = append(found, Problem{[]string{field}, text}) }
	if name != Others && !hostForm.MatchString(name) {
		found = append(found, Problem{nil, "must be a registry as images name it: a host, or host:port, without https:// and path; or \"*\" for all others"})
	}
	for _, m := range h.Mirrors {
		if _, err := mirrorURL(m); err != nil {
			wrong("mirrors", fmt.Sprintf("%q: %v", m, err))
		}
	}
	if name == Others {
		rest := h
		if rest.Mirrors = nil; !reflect.DeepEqual(rest, Host{}) {
			found = append(found, Problem{nil, "of all other registries nothing but mirrors can be said: give the rest to the entry of the registry, or of the mirror"})
		}
	}
	if h.PlainHTTP && (h.CA != "" || h.ClientCert != "" || h.SkipVerify) {
		wrong("plainHTTP", "a registry without TLS has no certificates: leave out ca, clientCert and skipVerify, or plainHTTP")
	}
	if h.Password != "" && h.PasswordFile != "" {
		wrong("passwordFile", "give password or passwordFile, not both")
	}
	if (h.Username == "") != (h.Password == "" && h.PasswordFile == "") {
		wrong("username", "a username and a password belong together")
	}
	if (h.ClientCert == "") != (h.ClientKey == "") {
		wrong("clientCert", "clientCert and clientKey belong together")
	}
	for _, f := range [][2]string{{"ca", h.CA}, {"clientCert", h.ClientCert}, {"clientKey", h.ClientKey}, {"passwordFile", h.PasswordFile}} {
		if f[1] != "" && !filepath.IsAbs(f[1]) {
			wrong(f[0], fmt.Sprintf("%q: must be an absolute path", f[1]))
		}
	}
	return found
}

func (h Host) checkFiles() []Problem {
	var found []Problem
	wrong := func(field string, err error) { found = append(found, Problem{[]string{field}, err.Error()}) }
	if h.CA != "" {
		text, err := os.ReadFile(h.CA)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s holds no certificate in PEM", h.CA)
		}
		if err != nil {
			wrong("ca", err)
		}
	}
	if h.ClientCert != "" {
		if _, err := tls.LoadX509KeyPair(h.ClientCert, h.ClientKey); err != nil {
			wrong("clientCert", err)
		}
	}
	if h.PasswordFile != "" {
		if _, err := os.Stat(h.PasswordFile); err != nil {
			wrong("passwordFile", err)
		}
	}
	return found
}

// mirrorURL reads the address of a mirror.
func mirrorURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("must be a URL such as https://mirror.example:5000")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("must be no more than scheme, host and path; credentials go to the entry of %q", u.Host)
	}
	return u, nil
}
