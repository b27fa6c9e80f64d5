package feed

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/network/world"
)

// Saved is what a node needs to serve what it served, without the API server: the objects that the table was made of,
// and the Secrets and ConfigMaps.
type Saved struct {
	Node       *corev1.Node                 `json:"node,omitempty"`
	Services   []*corev1.Service            `json:"services,omitempty"`
	Slices     []*discoveryv1.EndpointSlice `json:"slices,omitempty"`
	Ingresses  []*networkingv1.Ingress      `json:"ingresses,omitempty"`
	Classes    []*networkingv1.IngressClass `json:"classes,omitempty"`
	Secrets    []*corev1.Secret             `json:"secrets,omitempty"`
	ConfigMaps []*corev1.ConfigMap          `json:"configMaps,omitempty"`
	Sources    map[string]json.RawMessage   `json:"sources,omitempty"`
}

// world is a World of the objects. It is not complete.
func (s *Saved) world() *world.World {
	w := world.New()
	if s.Node != nil {
		w.Put(s.Node)
	}
	for _, o := range s.Services {
		w.Put(o)
	}
	for _, o := range s.Slices {
		w.Put(o)
	}
	for _, o := range s.Ingresses {
		w.Put(o)
	}
	for _, o := range s.Classes {
		w.Put(o)
	}
	return w
}

// find is the object of a name, nil if there is none.
func find[T metav1.Object](all []T, name types.NamespacedName) (found T) {
	if i := slices.IndexFunc(all, func(o T) bool { return api.Name(o) == name }); i >= 0 {
		found = all[i]
	}
	return found
}

// load reads the file; nil if there is none, or none that can be read, which is said: everything comes from the API server then.
func (f *Feed) load() *Saved {
	if f.cfg.File == "" {
		return nil
	}
	text, err := os.ReadFile(f.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s Saved
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		f.log.Warn("what was served before is not known; it is served when the API server has told it", "file", f.cfg.File, "err", err)
		return nil
	}
	return &s
}

// save writes the file, if what is served is known in full and is not what was written last. Only root can read it: it has the keys of
// certificates.
func (f *Feed) save() {
	if f.cfg.File == "" || !f.unsaved || !f.allKnown() {
		return
	}
	f.unsaved, f.lastSave = false, time.Now()
	s := f.snapshot()
	err := f.saveSources(s)
	var text []byte
	if err == nil {
		text, err = json.Marshal(s)
	}
	if err == nil {
		if sum := sha256.Sum256(text); sum != f.written {
			if err = durable.WriteFile(f.cfg.File, text, 0o600); err == nil {
				f.written = sum
			}
		}
	}
	if err != nil {
		f.unsaved = true
		f.log.Warn("what is served cannot be kept for a start without the API server; trying again with the next change", "err", err)
	}
}

// snapshot is what is served now, in order.
func (f *Feed) snapshot() *Saved {
	w, s := f.world.Load(), &Saved{}
	s.Node = w.Node(f.cfg.NodeName)
	for _, name := range w.Services() {
		_, through := f.through[name]
		if f.used[name] == nil && !through {
			continue
		}
		svc, endpointSlices := w.Service(name)
		if svc != nil {
			s.Services, s.Slices = append(s.Services, svc), append(s.Slices, endpointSlices...)
		}
	}
	for _, ing := range w.Ingresses() {
		if _, served := f.refs[api.Name(ing)]; served {
			s.Ingresses = append(s.Ingresses, ing)
		}
	}
	for _, class := range w.IngressClasses() {
		if api.ServesClass(class) {
			s.Classes = append(s.Classes, class)
		}
	}
	for _, name := range f.wanted.configMaps {
		if m := f.configMap(name); m != nil {
			s.ConfigMaps = append(s.ConfigMaps, m)
		}
	}
	for _, name := range f.wanted.secrets {
		if shown := f.see(name); shown != nil {
			s.Secrets = append(s.Secrets, shown.good())
		}
	}
	return s
}
