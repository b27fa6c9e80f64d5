package definitions

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	_ "embed" // for the definitions
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"
)

// Version and Channel are those of the definitions here.
const (
	Version = "v1.6.3"
	Channel = "standard"
)

const (
	installed = "fairlead.dev/installed" // annotates those that are installed by this package
	bundle    = "gateway.networking.k8s.io/bundle-version"
	channel   = "gateway.networking.k8s.io/channel"
	path      = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
)

//go:embed standard.json.gz
var standard []byte

// largest is the size of the largest definition, in bytes, with room.
const largest = 1 << 20

// Foreign is a definition of Gateway API that somebody else has installed, and which is left alone.
type Foreign struct{ Name, Version, Channel string }

// Install makes the definitions what they should be. client is of any group; preset stores one that is not there without validating it, which
// TestAccepted has done. It returns those of others; it may be called again.
func Install(ctx context.Context, client rest.Interface, preset func(context.Context, []byte) error) ([]Foreign, error) {
	have, err := list(ctx, client)
	if err != nil {
		return nil, err
	}
	var foreign []Foreign
	err = each(func(name string, definition []byte) error {
		old, ok := have[name]
		switch {
		case !ok:
			return preset(ctx, definition)
		case !ours(old):
			if v, c := old.Annotations[bundle], old.Annotations[channel]; v != Version || c != Channel {
				foreign = append(foreign, Foreign{name, v, c})
			}
			return nil
		case older(old):
			return update(ctx, client, old, definition)
		}
		return nil
	})
	return foreign, err
}

// ours reports whether a definition is as this package has installed it, or an earlier one has.
func ours(d metav1.PartialObjectMetadata) bool {
	return d.Annotations[installed] != "" && d.Annotations[channel] == Channel
}

func older(d metav1.PartialObjectMetadata) bool {
	v, err := version.ParseSemantic(d.Annotations[bundle])
	return err == nil && v.LessThan(version.MustParseSemantic(Version))
}

// list reads which definitions there are, without their schemas.
func list(ctx context.Context, client rest.Interface) (map[string]metav1.PartialObjectMetadata, error) {
	raw, err := client.Get().AbsPath(path).SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("list custom resource definitions: %w", err)
	}
	var all metav1.PartialObjectMetadataList
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("list custom resource definitions: %w", err)
	}
	have := map[string]metav1.PartialObjectMetadata{}
	for _, d := range all.Items {
		have[d.Name] = d
	}
	return have, nil
}

// each calls do with every definition, as JSON.
func each(do func(name string, definition []byte) error) error {
	unpacked, err := gzip.NewReader(bytes.NewReader(standard))
	if err != nil {
		return fmt.Errorf("definitions of Gateway API: %w", err)
	}
	lines := bufio.NewScanner(unpacked)
	lines.Buffer(nil, largest)
	for lines.Scan() {
		var head struct{ Metadata struct{ Name string } }
		if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
			return fmt.Errorf("definitions of Gateway API: %w", err)
		}
		if err := do(head.Metadata.Name, lines.Bytes()); err != nil {
			return fmt.Errorf("definition %s: %w", head.Metadata.Name, err)
		}
	}
	return lines.Err()
}

func update(ctx context.Context, client rest.Interface, old metav1.PartialObjectMetadata, definition []byte) error {
	var d map[string]any
	if err := json.Unmarshal(definition, &d); err != nil {
		return err
	}
	if metadata, ok := d["metadata"].(map[string]any); ok {
		metadata["resourceVersion"] = old.ResourceVersion
	}
	whole, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return send(ctx, client.Put().AbsPath(path, old.Name), whole)
}

// send writes a definition and asks for no more than its metadata in return.
func send(ctx context.Context, r *rest.Request, definition []byte) error {
	return r.SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").
		Body(definition).Do(ctx).Error()
}
