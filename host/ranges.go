package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostRoute is a destination that the host knows a way to.
type hostRoute struct {
	dst  netip.Prefix
	link string // empty for a blackhole and its like
}

func checkRanges(_ context.Context, req Requirements) []Finding {
	if len(req.Ranges) == 0 {
		return nil
	}
	routes, err := hostRoutes()
	if err != nil {
		return []Finding{fail("addresses", "the routes cannot be listed: %v", err)}
	}
	return judgeRanges(req, routes)
}

// judgeRanges compares the cluster's ranges with each other and with the
// routes. A route inside a range takes addresses away from it; a wider one
// only loses some of its own.
func judgeRanges(req Requirements, routes []hostRoute) []Finding {
	var found []Finding
	for i, r := range req.Ranges {
		name := fmt.Sprintf("addresses of %s", r.Name)
		f := pass(name, "%s is not routed yet", r.Prefix)
		for _, other := range req.Ranges[:i] {
			if other.Prefix.Overlaps(r.Prefix) {
				f = fail(name, "%s overlaps the %s of the %s: change one with %s or %s", r.Prefix, other.Prefix, other.Name, r.Flag, other.Flag)
			}
		}
		for _, route := range routes {
			if f.Level == Fail || route.dst.Bits() == 0 || !route.dst.Overlaps(r.Prefix) || slices.Contains(req.OwnLinks, route.link) {
				continue
			}
			via := "has no way out"
			if route.link != "" {
				via = "leads to " + route.link
			}
			if route.dst.Bits() >= r.Prefix.Bits() {
				f = fail(name, "the route to %s, which %s, takes addresses of %s: choose another range with %s, or remove the route", route.dst, via, r.Prefix, r.Flag)
			} else {
				f = warn(name, "%s lies inside %s, which %s: hosts there with these addresses will not be reached; %s chooses another range", r.Prefix, route.dst, via, r.Flag)
			}
		}
		found = append(found, f)
	}
	return found
}

// Routed are the destinations that the host knows a way to, besides everything.
func Routed() ([]netip.Prefix, error) {
	routes, err := hostRoutes()
	if err != nil {
		return nil, fmt.Errorf("routes of the host: %w", err)
	}
	var all []netip.Prefix
	for _, r := range routes {
		if r.dst.Bits() > 0 {
			all = append(all, r.dst)
		}
	}
	return all, nil
}

// hostRoutes lists the routes of every table but the one of local addresses.
func hostRoutes() ([]hostRoute, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	list, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var routes []hostRoute
	for _, r := range list {
		if r.Dst == nil || r.Table == unix.RT_TABLE_LOCAL {
			continue
		}
		if dst, ok := prefix(r.Dst); ok {
			routes = append(routes, hostRoute{dst: dst, link: names[r.LinkIndex]})
		}
	}
	return routes, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr, bits), ok
}

// The free disk space, in bytes, below which a cluster cannot start, and
// below which images may soon not fit.
const (
	leastDisk = 200 << 20
	goodDisk  = 2 << 30
)

func checkDisk(_ context.Context, req Requirements) []Finding {
	dir := existing(req.Dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []Finding{fail("disk", "%s: %v: choose another --data-dir", dir, err)}
	}
	return []Finding{judgeDisk(dir, st.Bavail*uint64(st.Bsize), st.Ffree, st.Files)}
}

func judgeDisk(dir string, free, freeFiles, files uint64) Finding {
	gib := float64(free) / (1 << 30)
	switch {
	case free < leastDisk:
		return fail("disk", "only %.1f GiB are free in %s: make room, or choose another --data-dir", gib, dir)
	case files > 0 && freeFiles < 10_000:
		return fail("disk", "only %d more files fit in %s: make room, or choose another --data-dir", freeFiles, dir)
	case free < goodDisk:
		return warn("disk", "only %.1f GiB are free in %s: images may not fit", gib, dir)
	}
	return pass("disk", "%.1f GiB are free in %s", gib, dir)
}

// inotifyLimits are the kernel's limits on file watches, each with the least
// that lets pods watch files as they are used to.
var inotifyLimits = []struct {
	key   string
	least int
}{{"fs/inotify/max_user_instances", 128}, {"fs/inotify/max_user_watches", 8192}}

func checkInotify(context.Context, Requirements) []Finding {
	var low []string
	for _, l := range inotifyLimits {
		text, err := readSysctl(l.key)
		if os.IsNotExist(err) {
			return []Finding{warn("inotify", "the kernel has no inotify: programs in pods that watch files will fail")}
		}
		if n, err := strconv.Atoi(text); err != nil || n < l.least {
			low = append(low, fmt.Sprintf("'sysctl -w %s=%d'", strings.ReplaceAll(l.key, "/", "."), l.least))
		}
	}
	if len(low) > 0 {
		return []Finding{warn("inotify", "the limits on file watches are low, programs in pods may fail with \"too many open files\": raise them with %s", strings.Join(low, " and "))}
	}
	return []Finding{pass("inotify", "room for file watches")}
}
