package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/world"
)

// saved is what a node needs to serve what it served, without the API server: the objects that the table was made of, and the Secrets
// and ConfigMaps.
type saved struct {
	world      *world.World // not complete
	secrets    map[types.NamespacedName]*corev1.Secret
	configMaps map[types.NamespacedName]*corev1.ConfigMap
	sources    map[string]json.RawMessage
}

// item is a thing that is kept. The name is NAMESPACE/NAME of objects that have a namespace.
type item struct{ kind, name string }

// The kinds of items.
const (
	itemNode      = "node"
	itemService   = "service" // with its slices
	itemIngress   = "ingress"
	itemClass     = "class"
	itemSecret    = "secret"
	itemConfigMap = "configMap"
	itemSource    = "source"
)

func named(kind string, name types.NamespacedName) item {
	if name.Namespace == "" {
		return item{kind, name.Name}
	}
	return item{kind, name.String()}
}

// keptService is a Service as it is kept.
type keptService struct {
	Service *corev1.Service              `json:"service"`
	Slices  []*discoveryv1.EndpointSlice `json:"slices,omitempty"`
}

// lines is the text of the file: everything in the first line, and in each other what has changed since. A line is JSON, the things of
// each kind by name, null what is gone.
type lines map[string]map[string]json.RawMessage

// add takes a line in.
func (l lines) add(text []byte) error {
	var more lines
	if err := json.Unmarshal(text, &more); err != nil {
		return err
	}
	for kind, things := range more {
		if l[kind] == nil {
			l[kind] = map[string]json.RawMessage{}
		}
		for name, raw := range things {
			l[kind][name] = raw
		}
	}
	return nil
}

// load reads the file; nil if there is none, or none that can be read, which is said: everything comes from the API server then.
func (f *Feed) load() *saved {
	if f.cfg.File == "" {
		return nil
	}
	text, err := os.ReadFile(f.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s *saved
	if err == nil {
		s, err = f.parse(text)
	}
	if err != nil {
		f.log.Warn("what was served before is not known; it is served when the API server has told it", "file", f.cfg.File, "err", err)
		return nil
	}
	return s
}

// parse reads the text of the file. What follows a line that is not whole, as a power cut leaves it, was never promised to anybody.
func (f *Feed) parse(text []byte) (*saved, error) {
	all := lines{}
	for n := 1; len(text) > 0; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		err := all.add(line)
		if err == nil && !whole {
			err = errors.New("it ends too early")
		}
		if err != nil && n == 1 {
			return nil, err
		}
		if err != nil {
			f.log.Warn("the last changes of what was served are not known", "file", f.cfg.File, "line", n, "err", err)
			break
		}
		text = rest
	}
	s := &saved{world: world.New(), secrets: map[types.NamespacedName]*corev1.Secret{}, configMaps: map[types.NamespacedName]*corev1.ConfigMap{}, sources: all[itemSource]}
	for kind, things := range all {
		for name, raw := range things {
			if string(raw) == "null" {
				continue
			}
			if err := s.take(item{kind, name}, raw); err != nil {
				return nil, fmt.Errorf("%s %s: %w", kind, name, err)
			}
		}
	}
	return s, nil
}

// take takes in a thing that was kept.
func (s *saved) take(of item, raw json.RawMessage) error {
	namespace, name, _ := strings.Cut(of.name, "/")
	full := types.NamespacedName{Namespace: namespace, Name: name}
	switch of.kind {
	case itemNode:
		return s.put(&corev1.Node{}, raw)
	case itemClass:
		return s.put(&networkingv1.IngressClass{}, raw)
	case itemIngress:
		return s.put(&networkingv1.Ingress{}, raw)
	case itemService:
		var one keptService
		if err := json.Unmarshal(raw, &one); err != nil || one.Service == nil {
			return err
		}
		s.world.Put(one.Service)
		for _, slice := range one.Slices {
			s.world.Put(slice)
		}
	case itemSecret:
		secret := &corev1.Secret{}
		s.secrets[full] = secret
		return json.Unmarshal(raw, secret)
	case itemConfigMap:
		m := &corev1.ConfigMap{}
		s.configMaps[full] = m
		return json.Unmarshal(raw, m)
	}
	return nil
}

func (s *saved) put(empty runtime.Object, raw json.RawMessage) error {
	err := json.Unmarshal(raw, empty)
	if err == nil {
		s.world.Put(empty)
	}
	return err
}
