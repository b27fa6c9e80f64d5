package endpoints

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// selectors finds the Services that select a pod, without looking at the others. Each Service is
// filed under one pair of its selector, the anchor; a pod can only match Services that are
// anchored at one of its own labels. The anchor is the pair with the fewest Services, so that a
// pair which all Services of a namespace share costs nothing.
//
// The zero value is empty and ready.
type selectors struct {
	mu         sync.RWMutex // guards below
	namespaces map[string]*shelf
}

// label is one label, or one requirement of a selector.
type label struct{ key, value string }

// shelf holds the selectors of one namespace.
type shelf struct {
	anchored map[label]map[string]map[string]string // anchor -> Service name -> selector
	anchors  map[string]label                       // Service name -> its anchor
}

// set files a Service's selector, replacing an earlier one. An empty selector removes the Service.
func (s *selectors) set(svc types.NamespacedName, selector map[string]string) {
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
		sh = &shelf{anchored: map[label]map[string]map[string]string{}, anchors: map[string]label{}}
		if s.namespaces == nil {
			s.namespaces = map[string]*shelf{}
		}
		s.namespaces[svc.Namespace] = sh
	}
	sh.put(svc.Name, selector)
}

// matching returns the names of the Services of a namespace that select a pod with these labels.
func (s *selectors) matching(namespace string, labels map[string]string) map[string]struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sh := s.namespaces[namespace]
	if sh == nil {
		return nil
	}
	names := map[string]struct{}{}
	for key, value := range labels {
		for name, selector := range sh.anchored[label{key, value}] {
			if matches(selector, labels) {
				names[name] = struct{}{}
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
	if sh.anchored[anchor] == nil {
		sh.anchored[anchor] = map[string]map[string]string{}
	}
	sh.anchored[anchor][name] = maps.Clone(selector)
	sh.anchors[name] = anchor
}

func (sh *shelf) remove(name string) {
	anchor, ok := sh.anchors[name]
	if !ok {
		return
	}
	delete(sh.anchors, name)
	delete(sh.anchored[anchor], name)
	if len(sh.anchored[anchor]) == 0 {
		delete(sh.anchored, anchor)
	}
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
