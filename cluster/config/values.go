package config

import (
	"fmt"
	"net/netip"
)

// OfEachFamily reads the values of a flag, at most one of each family.
func OfEachFamily[T netip.Addr | netip.Prefix | netip.AddrPort](flag string, values []string, parse func(string) (T, error), is6 func(T) bool) ([]T, error) {
	var all []T
	for _, text := range values {
		v, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		for _, other := range all {
			if is6(other) == is6(v) {
				return nil, fmt.Errorf("%s: %v and %v are of one family; give at most one IPv4 and one IPv6", flag, other, v)
			}
		}
		all = append(all, v)
	}
	return all, nil
}

// Addrs are the addresses that a flag gives, at most one of each family.
func Addrs(flag string, values []string) ([]netip.Addr, error) {
	return OfEachFamily(flag, values, netip.ParseAddr, netip.Addr.Is6)
}

// Prefixes are the ranges that a flag gives, at most one of each family.
func Prefixes(flag string, values []string) ([]netip.Prefix, error) {
	return OfEachFamily(flag, values, netip.ParsePrefix, func(p netip.Prefix) bool { return p.Addr().Is6() })
}
