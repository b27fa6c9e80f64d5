package cri

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Exits calls f with the id of every container or sandbox whose main process ends, from now until the context is done or the
// connection breaks. containerd 1.6 has no CRI event stream (GetContainerEvents came with 1.7), so this is its own: topic
// /tasks/exit of containerd.services.events.v1. The CRI service hears the same event; it may tell the new state a little later.
func (r *Runtime) Exits(ctx context.Context, f func(id string)) error {
	conn, err := r.Conn()
	if err != nil {
		return err
	}
	desc := &grpc.StreamDesc{StreamName: "Subscribe", ServerStreams: true}
	stream, err := conn.NewStream(ctx, desc, "/containerd.services.events.v1.Events/Subscribe", grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return fmt.Errorf("containerd events: %w", err)
	}
	const filters = 1 // SubscribeRequest.filters
	request := protowire.AppendTag(nil, filters, protowire.BytesType)
	request = protowire.AppendString(request, `topic=="/tasks/exit",namespace=="k8s.io"`)
	if err := stream.SendMsg(&request); err != nil {
		return fmt.Errorf("containerd events: %w", err)
	}
	if err := stream.CloseSend(); err != nil {
		return fmt.Errorf("containerd events: %w", err)
	}
	for {
		var envelope []byte
		if err := stream.RecvMsg(&envelope); err != nil {
			return fmt.Errorf("containerd events: %w", err)
		}
		if id := exitedContainer(envelope); id != "" {
			f(id)
		}
	}
}

// exitedContainer takes the container out of an event envelope, or "" when it was only a process that had been
// executed inside one. Envelope{event=4: Any{value=2: TaskExit{container_id=1, id=2}}}.
func exitedContainer(envelope []byte) string {
	event := field(field(envelope, 4), 2)
	container, process := field(event, 1), field(event, 2)
	if string(container) != string(process) {
		return ""
	}
	return string(container)
}

// field returns the last length-delimited field of this number in a protobuf message, or nil.
func field(message []byte, number protowire.Number) []byte {
	var found []byte
	for len(message) > 0 {
		num, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(num, kind, message)
		if size < 0 {
			return nil
		}
		if num == number && kind == protowire.BytesType {
			found, _ = protowire.ConsumeBytes(message)
		}
		message = message[size:]
	}
	return found
}

// rawCodec passes messages as the bytes they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errors.New("raw codec: not bytes")
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return errors.New("raw codec: not bytes")
	}
	*b = append([]byte(nil), data...)
	return nil
}
