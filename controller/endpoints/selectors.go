package endpoints

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Selectors finds the Services that select a pod, without looking at the others. Each Service is
// filed under one pair of its selector, the anchor; a pod can only match Services that are
// anchored at one of its own labels. The anchor is the pair with the fewest Services, so that a
// pair which all Services of a namespace share costs nothing.
//
// The zero value is empty and ready.
type Selectors struct {
	mu         sync.RWMutex // guards below
	namespaces map[string]*shelf
}

// label is one label, or one requirement of a selector.
type label struct{ key, value string }

// shelf holds the selectors of one namespace.
type shelf struct {
	anchored map[label][]filed // by anchor
	anchors  map[string]label  // of each Service, by its name
}

// filed is one Service. Its selector is that of the cached object, which nobody changes.
type filed struct {
	name     string
	selector map[string]string
}

// Set files a Service's selector, replacing an earlier one. An empty selector removes the Service.
func (s *Selectors) Set(svc types.NamespacedName, selector map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.namespaces[svc.Namespace]
	if sh != nil {
		sh.remove(svc.Name)
	}
	if len(selector) == 0 {
		if sh != nil && len(sh.anchors) == 0 {
			delete(s.namespaces, svc.Namespace)
		}
		return
	}
	if sh == nil {
		sh = &shelf{anchored: map[label][]filed{}, anchors: map[string]label{}}
		if s.namespaces == nil {
			s.namespaces = map[string]*shelf{}
		}
		s.namespaces[svc.Namespace] = sh
	}
	sh.put(svc.Name, selector)
}

// Matching returns the names of the Services of a namespace that select a pod with these labels.
func (s *Selectors) Matching(namespace string, labels map[string]string) map[string]struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sh := s.namespaces[namespace]
	if sh == nil {
		return nil
	}
	names := map[string]struct{}{}
	for key, value := range labels {
		for _, svc := range sh.anchored[label{key, value}] {
			if matches(svc.selector, labels) {
				names[svc.name] = struct{}{}
			}
		}
	}
	return names
}

func (sh *shelf) put(name string, selector map[string]string) {
	var anchor label
	fewest := -1
	for key, value := range selector {
		if n := len(sh.anchored[label{key, value}]); fewest < 0 || n < fewest {
			anchor, fewest = label{key, value}, n
		}
	}
	sh.anchored[anchor] = append(sh.anchored[anchor], filed{name, selector})
	sh.anchors[name] = anchor
}

func (sh *shelf) remove(name string) {
	anchor, ok := sh.anchors[name]
	if !ok {
		return
	}
	delete(sh.anchors, name)
	rest := slices.DeleteFunc(sh.anchored[anchor], func(svc filed) bool { return svc.name == name })
	if len(rest) == 0 {
		delete(sh.anchored, anchor)
		return
	}
	sh.anchored[anchor] = rest
}

// matches reports whether labels satisfy every pair of a selector.
func matches(selector, labels map[string]string) bool {
	for key, value := range selector {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}
