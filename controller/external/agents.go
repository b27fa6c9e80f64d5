package external

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/pki/peer"
)

const (
	grace    = 3 * time.Second // what a question may take longer than the probe in it
	maxReply = 64 << 10
)

// Asker has a node probe an address once. An error means that the node could not be asked, which says nothing about the address.
type Asker func(ctx context.Context, node *corev1.Node, request probe.Request) (probe.Reply, error)

// Agents returns an Asker that asks the agents of nodes.
func Agents(agents *peer.Asker) Asker {
	return func(ctx context.Context, node *corev1.Node, request probe.Request) (reply probe.Reply, err error) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(request.TimeoutSeconds)*time.Second+grace)
		defer cancel()
		if err = agents.Ask(ctx, node, probe.Path, request, &reply, maxReply); err != nil {
			err = fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		return reply, err
	}
}
