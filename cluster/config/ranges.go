package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// family is an IP family.
type family int

const (
	four family = 4
	six  family = 6
)

func (f family) String() string { return fmt.Sprintf("IPv%d", int(f)) }

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return four
	}
	return six
}

// other is the family that a cluster of one family lacks.
func (f family) other() family { return four + six - f }

// The ranges of a user who names none.
const (
	PodCIDR4, PodCIDR6         = "10.244.0.0/16", "fd00:10:244::/56"
	ServiceCIDR4, ServiceCIDR6 = "10.96.0.0/12", "fd00:10:96::/112"
)

var (
	podRanges     = map[family]string{four: PodCIDR4, six: PodCIDR6}
	serviceRanges = map[family]string{four: ServiceCIDR4, six: ServiceCIDR6}
)

// dnsIndex is the place of the cluster DNS in a Service range, as upstream's tools have it: 10.96.0.10.
const dnsIndex = 10

// The prefix lengths that a range may have. A node's share of the pods is a /24 or a /64. Services need room for the
// cluster's own; of IPv6, upstream's API server takes ranges of no more than 20 bits.
const (
	podBits4, podBits6          = 24, 64
	serviceBits4                = 28
	serviceLeast6, serviceMost6 = 108, 124
)

// addresses sets the ranges and addresses of s, completes those that nobody gave, and says what is wrong with them.
func (s *Settings) addresses() []error {
	var errs [4]error
	s.Pods, errs[0] = parsePrefixes("pod-cidr", s.PodCIDR, checkPods)
	s.Services, errs[1] = parsePrefixes("service-cidr", s.ServiceCIDR, checkServices)
	s.DNS, errs[2] = parseAddrs("cluster-dns", s.ClusterDNS)
	s.NodeIPs, errs[3] = parseAddrs("node-ip", s.NodeIP)
	if errors.Join(errs[:]...) != nil {
		return errs[:]
	}
	families := s.families()
	s.Pods = complete(s.Pods, families, s.DualStack, podRanges)
	s.Services = complete(s.Services, families, s.DualStack, serviceRanges)
	errs[0] = sameFamilies("pod-cidr", s.Pods, families)
	errs[1] = sameFamilies("service-cidr", s.Services, families)
	if errs[0] == nil && errs[1] == nil {
		errs[2] = s.placeDNS()
		errs[3] = s.apart()
		s.DualStack = len(families) == 2
		s.PodCIDR, s.ServiceCIDR, s.ClusterDNS = join(s.Pods), join(s.Services), join(s.DNS)
	}
	return errs[:]
}

// families are those of the cluster, the primary first: what the Service ranges say, else the pod ranges, else IPv4.
func (s *Settings) families() []family {
	said := s.Services
	if len(said) == 0 {
		said = s.Pods
	}
	var families []family
	for _, p := range said {
		families = append(families, familyOf(p.Addr()))
	}
	if len(families) == 0 {
		families = []family{four}
	}
	if len(families) == 1 && s.DualStack {
		families = append(families, families[0].other())
	}
	return families
}

// complete adds the usual range of each family that has none: of every family if nothing was said, and of the other
// one with --dual-stack.
func complete(said []netip.Prefix, families []family, dual bool, usual map[family]string) []netip.Prefix {
	if len(said) == 2 || len(said) == 1 && !dual {
		return said
	}
	var all []netip.Prefix
	for _, f := range families {
		i := slices.IndexFunc(said, func(p netip.Prefix) bool { return familyOf(p.Addr()) == f })
		if i >= 0 {
			all = append(all, said[i])
		} else {
			all = append(all, netip.MustParsePrefix(usual[f]))
		}
	}
	return all
}

func sameFamilies(flag string, ranges []netip.Prefix, families []family) error {
	got := make([]family, len(ranges))
	for i, p := range ranges {
		got[i] = familyOf(p.Addr())
	}
	if slices.Equal(got, families) {
		return nil
	}
	return fmt.Errorf("%s %q: must be of the families %s in this order, as the other ranges are; --dual-stack adds the second family to what has only one",
		flag, join(ranges), join(families))
}

// placeDNS checks that each Service range holds one DNS address and chooses those that were not given.
func (s *Settings) placeDNS() error {
	placed := make([]netip.Addr, len(s.Services))
	for i, r := range s.Services {
		placed[i] = nth(r, dnsIndex)
	}
	for _, a := range s.DNS {
		i := slices.IndexFunc(s.Services, func(r netip.Prefix) bool { return r.Contains(a) })
		if i < 0 || a == s.Services[i].Addr() || a == nth(s.Services[i], 1) {
			return fmt.Errorf("cluster-dns %q: must be an address inside the Service range %s, and not its first, which is the API's", s.ClusterDNS, join(s.Services))
		}
		placed[i] = a
	}
	s.DNS = placed
	return nil
}

// keepsFirst checks that a cluster that was started before has the same first family: its Services have addresses of it
// that they keep for life.
func (s *Settings) keepsFirst(saved Config) error {
	was, err := parsePrefixes("service-cidr", saved.ServiceCIDR, checkServices)
	if err != nil || len(was) == 0 || familyOf(was[0].Addr()) == familyOf(s.Services[0].Addr()) {
		return err
	}
	return fmt.Errorf("service-cidr %q: this cluster was made with %s, its first family is %s and stays so; take it down first, or give a new one another --name",
		s.ServiceCIDR, saved.ServiceCIDR, familyOf(was[0].Addr()))
}

// apart checks that pods and Services have addresses of their own.
func (s *Settings) apart() error {
	for i := range s.Pods {
		if s.Pods[i].Overlaps(s.Services[i]) {
			return fmt.Errorf("pod-cidr %q: must not overlap the Service range %s", s.Pods[i], s.Services[i])
		}
	}
	return nil
}

func checkPods(p netip.Prefix) string {
	switch {
	case p.Addr().Is4() && p.Bits() > podBits4:
		return "an IPv4 network of /24 or larger, such as " + podRanges[four]
	case p.Addr().Is6() && p.Bits() > podBits6:
		return "an IPv6 network of /64 or larger, such as " + podRanges[six]
	}
	return ""
}

func checkServices(p netip.Prefix) string {
	switch {
	case p.Addr().Is4() && p.Bits() > serviceBits4:
		return "an IPv4 network of /28 or larger, such as " + serviceRanges[four]
	case p.Addr().Is6() && (p.Bits() < serviceLeast6 || p.Bits() > serviceMost6):
		return "an IPv6 network of /108 to /124, such as " + serviceRanges[six]
	}
	return ""
}

// parsePrefixes reads one or two ranges; want says what is wrong with one.
func parsePrefixes(flag, text string, want func(netip.Prefix) string) ([]netip.Prefix, error) {
	return parse(flag, text, "ranges", func(part string) (netip.Prefix, family, error) {
		p, err := netip.ParsePrefix(part)
		switch {
		case err != nil:
			return p, 0, errors.New("must be a network such as 10.0.0.0/16 or fd00:10::/56")
		case p.Addr().Is4In6():
			return p, 0, errors.New("must not be an IPv4 network written as IPv6")
		case p != p.Masked():
			return p, 0, fmt.Errorf("must be the network's own address, %s", p.Masked())
		case want(p) != "":
			return p, 0, errors.New("must be " + want(p))
		}
		return p, familyOf(p.Addr()), nil
	})
}

// parseAddrs reads one or two addresses.
func parseAddrs(flag, text string) ([]netip.Addr, error) {
	return parse(flag, text, "addresses", func(part string) (netip.Addr, family, error) {
		a, err := netip.ParseAddr(part)
		if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
			return a, 0, errors.New("must be an address such as 192.0.2.1 or 2001:db8::1")
		}
		return a, familyOf(a), nil
	})
}

// parse reads the values of one setting, at most one of each family.
func parse[T any](flag, text, what string, one func(string) (T, family, error)) ([]T, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var values []T
	seen := map[family]bool{}
	for part := range strings.SplitSeq(text, ",") {
		value, f, err := one(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", flag, strings.TrimSpace(part), err)
		}
		if seen[f] {
			return nil, fmt.Errorf("%s %q: two %s of %s: give one, or one of each family", flag, text, what, f)
		}
		seen[f] = true
		values = append(values, value)
	}
	return values, nil
}

// nth is the n-th address of a range after its first.
func nth(p netip.Prefix, n uint32) netip.Addr {
	bytes := p.Addr().AsSlice()
	tail := bytes[len(bytes)-4:]
	binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)+n)
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

func join[T fmt.Stringer](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ",")
}
