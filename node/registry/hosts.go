package registry

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
)

// HostsFile is the name of the file in each hosts directory.
const HostsFile = "hosts.toml"

// dockerHub is a registry whose images are had from another host than they are named after.
const (
	dockerHub     = "docker.io"
	dockerHubHost = "registry-1.docker.io"
)

// Directories are the hosts directories (docs/hosts.md of containerd) that say the same: the text of hosts.toml, by directory. They hold
// no credentials.
func (r Registries) Directories() map[string]string {
	all := map[string]string{}
	for name, h := range r.Hosts {
		if len(h.Mirrors) == 0 && !h.PlainHTTP && !h.SkipVerify && h.CA == "" && h.ClientCert == "" {
			continue // credentials alone
		}
		dir := name
		if name == Others {
			dir = "_default"
		}
		all[dir] = r.hostsTOML(name, h)
	}
	return all
}

func (r Registries) hostsTOML(name string, h Host) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	within := func(format string, args ...any) { line("  "+format, args...) }
	line("# written by fairlead, of what config.yaml says below registries")
	if name != Others { // of those containerd knows the host
		line("server = %q", origin(name, h))
		h.tlsTOML(line)
	}
	for _, m := range h.Mirrors {
		u, err := mirrorURL(m)
		if err != nil {
			continue // is refused by Check
		}
		line("[host.%q]", strings.TrimSuffix(u.String(), "/"))
		line("  capabilities = [\"pull\", \"resolve\"]")
		if strings.Contains(u.Path, "/v2") { // else containerd appends that
			line("  override_path = true")
		}
		r.Hosts[hostOf(u, r.Hosts)].tlsTOML(within)
	}
	if name != Others && len(h.Mirrors) == 0 { // a file without any host is one that containerd 1.6 does not take
		line("[host.%q]", origin(name, h))
		line("  capabilities = [\"pull\", \"resolve\"]")
		h.tlsTOML(within)
	}
	return b.String()
}

func (h Host) tlsTOML(line func(format string, args ...any)) {
	if h.CA != "" {
		line("ca = %q", h.CA)
	}
	if h.ClientCert != "" {
		line("client = [[%q, %q]]", h.ClientCert, h.ClientKey)
	}
	if h.SkipVerify {
		line("skip_verify = true")
	}
}

// origin is the URL of a registry.
func origin(name string, h Host) string {
	host, scheme := name, "https"
	if name == dockerHub {
		host = dockerHubHost
	}
	if h.PlainHTTP {
		scheme = "http"
	}
	return scheme + "://" + host
}

// hostOf is the entry that a mirror has: by host and port, or by the host alone where the port is that of its scheme.
func hostOf(u *url.URL, hosts map[string]Host) string {
	if _, ok := hosts[u.Host]; ok || u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
}

// Environment are the variables that a program is given so that it goes through the proxy, sorted. reached is what it reaches without
// that in any case.
func (p Proxy) Environment(reached []string) []string {
	if p.HTTP == "" && p.HTTPS == "" {
		return nil
	}
	all := map[string]string{"HTTP_PROXY": p.HTTP, "HTTPS_PROXY": p.HTTPS}
	no := slices.DeleteFunc(append(strings.Split(p.No, ","), reached...), func(s string) bool { return strings.TrimSpace(s) == "" })
	all["NO_PROXY"] = strings.Join(no, ",")
	var env []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			env = append(env, name+"="+all[name])
		}
	}
	return env
}

// String is the proxy as it may be shown: without passwords.
func (p Proxy) String() string {
	shown := func(text string) string {
		if u, err := url.Parse(text); err == nil {
			return u.Redacted()
		}
		return text
	}
	var parts []string
	for _, one := range [][2]string{{"https", shown(p.HTTPS)}, {"http", shown(p.HTTP)}, {"not for", p.No}} {
		if one[1] != "" {
			parts = append(parts, one[0]+" "+one[1])
		}
	}
	return strings.Join(parts, ", ")
}
