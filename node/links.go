package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/kuberuntime"
)

// settle is how long a look waits after a link has gone: links of pods that end go in numbers, together with their sandboxes.
const settle = 200 * time.Millisecond

// resubscribe is the wait before links are watched anew, after more of them changed at once than the kernel keeps for a reader.
const resubscribe = time.Second

// watchLinks looks, at the start and whenever a link of the kind that pods have has gone, whether every pod still has its own.
// The kernel tells of the link; no look is taken otherwise.
func (a *Agent) watchLinks(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := a.followLinks(ctx); ctx.Err() == nil {
			a.log.Warn("links of pods are watched anew", "err", err)
			kube.Sleep(ctx, resubscribe)
		}
	}
	return ctx.Err()
}

// followLinks is watchLinks as long as the kernel tells of links.
func (a *Agent) followLinks(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := make(chan netlink.LinkUpdate, 64)
	if err := netlink.LinkSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	for {
		if err := a.replaceUnlinked(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("whether every pod has its link cannot be seen", "err", err)
		}
		if err := linkGone(ctx, updates); err != nil {
			return err
		}
		kube.Sleep(ctx, settle)
	}
}

// linkGone returns when a veth link has gone.
func linkGone(ctx context.Context, updates <-chan netlink.LinkUpdate) error {
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return errors.New("the kernel tells of links no more")
			}
			if u.Header.Type == unix.RTM_DELLINK && u.Link.Type() == "veth" {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replaceUnlinked stops the sandboxes that run and have no route to them any more: somebody took their link away. Their pods get
// new ones, as they do when a sandbox ends by itself.
func (a *Agent) replaceUnlinked(ctx context.Context) error {
	running, err := a.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}}})
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", err)
	}
	for _, s := range running.Items {
		answer, err := a.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.Id})
		if err != nil {
			continue // it has just ended
		}
		if onHost(answer.Status) || routed(kuberuntime.IPs(answer.Status)) {
			continue
		}
		a.log.Warn("a pod's link has gone; it gets a new sandbox", "pod", s.Metadata.GetNamespace()+"/"+s.Metadata.GetName())
		if _, err := a.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			return fmt.Errorf("stop sandbox %s: %w", s.Id, err)
		}
	}
	return nil
}

// onHost reports whether a sandbox has the node's own network.
func onHost(s *runtimeapi.PodSandboxStatus) bool {
	return s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

// routed reports whether the node has a route of its own to each address, as the plugin makes it. What cannot be asked counts
// as reached: nothing is stopped for that.
func routed(ips []string) bool {
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		family := netlink.FAMILY_V4
		if ip.Is6() {
			family = netlink.FAMILY_V6
		}
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: netlink.NewIPNet(ip.AsSlice())}, netlink.RT_FILTER_DST)
		if err == nil && len(routes) == 0 {
			return false
		}
	}
	return true
}
