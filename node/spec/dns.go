package spec

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// DNS is the cluster's name service.
type DNS struct {
	Servers []string // the addresses of the DNS Service, the primary family first
	Zone    string   // cluster.local
}

// Resolver is the content of a resolv.conf.
type Resolver struct{ Servers, Searches, Options []string }

// Limits of a resolv.conf (rule N56, kubelet's validation).
const (
	maxServers     = 3
	maxSearches    = 32
	maxSearchChars = 2048
	maxSearchChar  = 253 // of one domain: the C library aborts at some longer ones
)

// ParseResolvConf reads a resolv.conf. The last search line counts, as in the C library, and a domain is the same with
// and without a dot at its end (kubelet).
func ParseResolvConf(text string) Resolver {
	var r Resolver
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			r.Servers = append(r.Servers, fields[1])
		case "search", "domain":
			r.Searches = nil
			for _, domain := range fields[1:] {
				if domain != "." {
					domain = strings.TrimSuffix(domain, ".")
				}
				r.Searches = append(r.Searches, domain)
			}
		case "options":
			r.Options = append(r.Options, fields[1:]...)
		}
	}
	return r
}

// ForPods is the node's resolv.conf as pods can use it. A resolver of the node that listens on loopback only, as
// systemd-resolved does, is out of their reach: they get the servers that it asks itself, if it says which.
func (r Resolver) ForPods(behind Resolver) Resolver {
	loopback := func(server string) bool {
		ip, err := netip.ParseAddr(server)
		return err == nil && ip.IsLoopback()
	}
	if len(r.Servers) == 0 || slices.ContainsFunc(r.Servers, func(s string) bool { return !loopback(s) }) || len(behind.Servers) == 0 {
		return r
	}
	r.Servers = slices.Clone(behind.Servers)
	return r
}

// PodResolver is the pod's resolv.conf by its dnsPolicy and dnsConfig (rules N50-N56). The texts are what had to be left out, for
// the event DNSConfigForming.
func PodResolver(pod *corev1.Pod, node Node) (Resolver, []string) {
	policy := pod.Spec.DNSPolicy
	if policy == corev1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = corev1.DNSDefault // N51
	}
	var r Resolver
	switch policy {
	case corev1.DNSNone: // N54
	case corev1.DNSDefault: // N53
		r = node.Host.clone()
	default: // N50, N52
		zone := node.Cluster.Zone
		r.Servers = slices.Clone(node.Cluster.Servers)
		r.Searches = []string{pod.Namespace + ".svc." + zone, "svc." + zone, zone}
		r.Searches = append(r.Searches, node.Host.Searches...)
		r.Options = []string{"ndots:5"}
	}
	if c := pod.Spec.DNSConfig; c != nil { // N55
		r.Servers = append(r.Servers, c.Nameservers...)
		r.Searches = append(r.Searches, c.Searches...)
		r.Options = mergeOptions(r.Options, c.Options)
	}
	r.Servers, r.Searches = unique(r.Servers), unique(r.Searches)
	return r.limited()
}

func (r Resolver) clone() Resolver {
	return Resolver{slices.Clone(r.Servers), slices.Clone(r.Searches), slices.Clone(r.Options)}
}

// limited trims to what the C library accepts (N56).
func (r Resolver) limited() (Resolver, []string) {
	var left []string
	if len(r.Servers) > maxServers {
		r.Servers = r.Servers[:maxServers]
		left = append(left, "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+strings.Join(r.Servers, " "))
	}
	searches := r.Searches[:min(len(r.Searches), maxSearches)]
	searches = slices.DeleteFunc(slices.Clone(searches), func(domain string) bool { return len(domain) > maxSearchChar })
	for len(strings.Join(searches, " ")) > maxSearchChars {
		searches = searches[:len(searches)-1]
	}
	if len(searches) < len(r.Searches) {
		r.Searches = searches
		left = append(left, "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+strings.Join(r.Searches, " "))
	}
	return r, left
}

// unique keeps the first of equal words.
func unique(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// mergeOptions lets the pod's options win over those of the same name.
func mergeOptions(base []string, own []corev1.PodDNSConfigOption) []string {
	out := slices.Clone(base)
	for _, o := range own {
		text := o.Name
		if o.Value != nil && *o.Value != "" {
			text += ":" + *o.Value
		}
		at := slices.IndexFunc(out, func(b string) bool { name, _, _ := strings.Cut(b, ":"); return name == o.Name })
		if at >= 0 {
			out[at] = text
		} else {
			out = append(out, text)
		}
	}
	return out
}

// Hosts is the pod's /etc/hosts (rule D9): localhost, the pod's own names at each of its addresses, its host aliases.
func Hosts(pod *corev1.Pod, zone string, ips []string) string {
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
	host, fqdn := Hostname(pod, zone)
	for _, ip := range ips {
		if fqdn != "" {
			b.WriteString(ip + "\t" + fqdn + "\t" + host + "\n")
		} else {
			b.WriteString(ip + "\t" + host + "\n")
		}
	}
	b.WriteString(hostAliases(pod))
	return b.String()
}

// NodeHosts is /etc/hosts of a pod on the node's network: the node's own with the pod's aliases added.
func NodeHosts(pod *corev1.Pod, nodeHosts string) string {
	return "# Kubernetes-managed hosts file (host network).\n" + nodeHosts + hostAliases(pod)
}

func hostAliases(pod *corev1.Pod) string {
	if len(pod.Spec.HostAliases) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n# Entries added by HostAliases.\n")
	for _, a := range pod.Spec.HostAliases {
		b.WriteString(a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n")
	}
	return b.String()
}
