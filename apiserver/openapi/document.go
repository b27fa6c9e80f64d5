package openapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
)

// document is one OpenAPI document in both its encodings, each compressed and made when first asked for.
type document struct {
	mark  string // changes with the content; "" for what never changes
	json  func() ([]byte, error)
	proto func(json []byte) ([]byte, error)

	mu     sync.Mutex
	packed map[string][]byte // by media type
}

// building is held while a document is built: what that takes for a moment must not add up.
var building sync.Mutex

// serve answers with the document; a client that takes gzip gets the stored bytes as they are.
func (d *document) serve(w http.ResponseWriter, r *http.Request, mediaType, hash string) {
	if fresh(w, r, hash) {
		return
	}
	packed, err := d.get(mediaType)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed)
		return
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(w, plain) // fails only when the client has gone
}

func (d *document) get(mediaType string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if packed, ok := d.packed[mediaType]; ok {
		return packed, nil
	}
	building.Lock()
	defer building.Unlock()
	// Building leaves tens of megabytes of garbage behind, once; give them back rather than let the process
	// look that big until the runtime gets round to it.
	defer debug.FreeOSMemory()
	plain, err := d.json()
	if err != nil {
		return nil, err
	}
	if mediaType != asJSON {
		if plain, err = d.proto(plain); err != nil {
			return nil, fmt.Errorf("openapi: encode: %w", err)
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil {
		return nil, fmt.Errorf("openapi: compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("openapi: compress: %w", err)
	}
	if d.packed == nil {
		d.packed = map[string][]byte{}
	}
	d.packed[mediaType] = packed.Bytes()
	return packed.Bytes(), nil
}

func (d *Documents) buildAll() ([]byte, error) {
	spec, err := builder.BuildOpenAPISpecFromRoutes(d.routes(), d.v2)
	if err != nil {
		return nil, fmt.Errorf("openapi: build v2: %w", err)
	}
	spec.Definitions = handler.PruneDefaults(spec.Definitions)
	if spec, err = d.custom.merge(spec); err != nil {
		return nil, err
	}
	if err := d.mergeOthers(context.Background(), spec); err != nil {
		return nil, err
	}
	return json.Marshal(spec)
}

func (d *Documents) buildGroup(group string) ([]byte, error) {
	routes := slices.DeleteFunc(d.routes(), func(c common.RouteContainer) bool { return c.RootPath() != "/"+group })
	spec, err := builder3.BuildOpenAPISpecFromRoutes(routes, d.v3)
	if err != nil {
		return nil, fmt.Errorf("openapi: build %s: %w", group, err)
	}
	return json.Marshal(spec)
}

func (d *Documents) buildIndex() []byte {
	index := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for group := range d.byGroup {
		index.Paths[group] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: groupURL(group, d.hash(group))}
	}
	for group, mark := range d.custom.marks() {
		if _, builtIn := d.byGroup[group]; !builtIn {
			index.Paths[group] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: groupURL(group, d.hash(group+mark))}
		}
	}
	for group, at := range d.others.Schemas() {
		if _, ours := index.Paths[group]; !ours {
			index.Paths[group] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: at}
		}
	}
	out, _ := json.Marshal(index) // strings only
	return out
}

func (d *Documents) hash(name string) string {
	sum := sha256.Sum256([]byte(d.build + "\n" + name))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func groupURL(group, hash string) string {
	return root3 + "/" + group + "?" + url.Values{"hash": {hash}}.Encode()
}
