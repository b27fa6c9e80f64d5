package cri

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// WriteCNI tells containerd how pods are connected: each by a routed veth pair (plugin ptp) with an address of each of podCIDRs
// (plugin host-local), without address translation. containerd reads the file by itself within milliseconds; its runtime condition
// NetworkReady turns true. An unchanged file is not written again.
func (r *Runtime) WriteCNI(podCIDRs []netip.Prefix, mtu int) error {
	p := r.paths()
	text, err := cniConflist(podCIDRs, mtu, p.cniData)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.cniConf, 0o711); err != nil {
		return fmt.Errorf("cni: %w", err)
	}
	path := filepath.Join(p.cniConf, "10-fairlead.conflist")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	// In place: containerd 1.6 reloads on a write event, not on the event of a file renamed into the directory.
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("cni: %w", err)
	}
	return nil
}

// cniConflist renders the network configuration list. mtu 0 leaves the kernel's default.
func cniConflist(podCIDRs []netip.Prefix, mtu int, dataDir string) ([]byte, error) {
	var ranges [][]map[string]string
	var routes []map[string]string
	var plugins []any
	for _, cidr := range podCIDRs {
		if !cidr.IsValid() {
			return nil, fmt.Errorf("cni: %q is not a pod network", cidr)
		}
		anywhere := "0.0.0.0/0"
		if cidr.Addr().Is6() {
			anywhere = "::/0"
			plugins = append(plugins, atOnce())
		}
		ranges = append(ranges, []map[string]string{{"subnet": cidr.Masked().String()}})
		routes = append(routes, map[string]string{"dst": anywhere})
	}
	if len(ranges) == 0 {
		return nil, errors.New("cni: no pod network is given")
	}
	ptp := map[string]any{
		"type":   "ptp",
		"ipMasq": false,
		"ipam":   map[string]any{"type": "host-local", "dataDir": dataDir, "ranges": ranges, "routes": routes},
	}
	if mtu > 0 {
		ptp["mtu"] = mtu
	}
	return json.MarshalIndent(map[string]any{"cniVersion": cniVersion, "name": "fairlead", "plugins": append(plugins, ptp)}, "", "  ")
}

const cniVersion = "0.4.0"

// atOnce makes the pod's IPv6 addresses usable at once. The kernel would first ask for a second or two whether anybody on
// the link has them, and ptp waits for its answer, but the address is this pod's by host-local and the link is its own.
// The plugin tuning sets this before ptp makes the link; because it is made to follow another plugin, it is given the
// result of one that has done nothing.
func atOnce() map[string]any {
	return map[string]any{
		"type":       "tuning",
		"sysctl":     map[string]string{"net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.default.accept_ra": "0"},
		"prevResult": map[string]string{"cniVersion": cniVersion},
	}
}
