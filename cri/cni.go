package cri

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// WriteCNI tells containerd how pods are connected: each by a routed veth pair (plugin ptp) with an address of podCIDR (plugin
// host-local), without address translation. containerd reads the file by itself within milliseconds; its runtime condition
// NetworkReady turns true. An unchanged file is not written again.
func (r *Runtime) WriteCNI(podCIDR netip.Prefix, mtu int) error {
	p := r.paths()
	text, err := cniConflist(podCIDR, mtu, p.cniData)
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
func cniConflist(podCIDR netip.Prefix, mtu int, dataDir string) ([]byte, error) {
	if !podCIDR.IsValid() {
		return nil, fmt.Errorf("cni: %q is not a pod network", podCIDR)
	}
	anywhere := "0.0.0.0/0"
	if podCIDR.Addr().Is6() {
		anywhere = "::/0"
	}
	ptp := map[string]any{
		"type":   "ptp",
		"ipMasq": false,
		"ipam": map[string]any{
			"type":    "host-local",
			"dataDir": dataDir,
			"ranges":  [][]map[string]string{{{"subnet": podCIDR.Masked().String()}}},
			"routes":  []map[string]string{{"dst": anywhere}},
		},
	}
	if mtu > 0 {
		ptp["mtu"] = mtu
	}
	return json.MarshalIndent(map[string]any{"cniVersion": "0.4.0", "name": "fairlead", "plugins": []any{ptp}}, "", "  ")
}
