package cri

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/api/events"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/proto"
)

// Exits calls f with the id of every container or sandbox whose main process ends, from now until the context is done or the
// connection breaks. containerd 1.6 has no CRI event stream (GetContainerEvents came with 1.7), so this is its own: topic
// /tasks/exit of its events. The CRI service hears the same event; it may tell the new state a little later.
func (r *Runtime) Exits(ctx context.Context, f func(id string)) error {
	conn, err := r.Conn()
	if err != nil {
		return err
	}
	filter := fmt.Sprintf(`topic=="/tasks/exit",namespace==%q`, imageNamespace)
	stream, err := eventsapi.NewEventsClient(conn).Subscribe(ctx, &eventsapi.SubscribeRequest{Filters: []string{filter}})
	if err != nil {
		return fmt.Errorf("containerd events: %w", err)
	}
	for {
		envelope, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("containerd events: %w", err)
		}
		if id := exitedContainer(envelope); id != "" {
			f(id)
		}
	}
}

// exitedContainer takes the container out of an event, or "" when it was only a process that had been executed inside one. The type
// of what the event holds is not asked: containerd spells it without a host, and the topic has one type.
func exitedContainer(envelope *types.Envelope) string {
	var exit events.TaskExit
	if proto.Unmarshal(envelope.GetEvent().GetValue(), &exit) != nil || exit.ContainerID != exit.ID {
		return ""
	}
	return exit.ContainerID
}
