package loadbalancer

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/pki/peer"
)

// maxReply bounds what a node says at once.
const maxReply = 4 << 20

// Asker tells a node what to announce, and returns what has become of it. An error means that the node did not answer.
type Asker func(ctx context.Context, node *corev1.Node, request announce.Request) (announce.Reply, error)

// Agents returns an Asker that asks the agents of nodes. Who has not answered when it counts as silent has not answered.
func Agents(agents *peer.Asker) Asker {
	return func(ctx context.Context, node *corev1.Node, request announce.Request) (reply announce.Reply, err error) {
		ctx, cancel := context.WithTimeout(ctx, announce.Silence)
		defer cancel()
		if err = agents.Ask(ctx, node, announce.Path, request, &reply, maxReply); err != nil {
			err = fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		return reply, err
	}
}
