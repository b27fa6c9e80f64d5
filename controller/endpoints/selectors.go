package endpoints

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Selectors finds the Services that select a pod, without looking at the others. Each Service is
// filed under one pair of its selector; a pod can only match Services that are filed under one of
// its own labels. It is the pair with the fewest Services, so that one which all Services of a
// namespace share costs nothing.
//
// The zero value is empty and ready.
type Selectors struct {
	mu         sync.RWMutex // guards below
	namespaces map[string]*namespaceIndex
}

// label is one label, or one requirement of a selector.
type label struct{ key, value string }

// namespaceIndex holds the selectors of one namespace.
type namespaceIndex struct {
	byPair map[label][]indexed
	pairs  map[string]label // of each Service, by its name
}

// indexed is one Service. Its selector is that of the cached object, which nobody changes.
type indexed struct {
	name     string
	selector map[string]string
}

// Set files a Service's selector, replacing an earlier one. An empty selector removes the Service.
func (s *Selectors) Set(svc types.NamespacedName, selector map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	index := s.namespaces[svc.Namespace]
	if index != nil {
		index.remove(svc.Name)
	}
	if len(selector) == 0 {
		if index != nil && len(index.pairs) == 0 {
			delete(s.namespaces, svc.Namespace)
		}
		return
	}
	if index == nil {
		index = &namespaceIndex{byPair: map[label][]indexed{}, pairs: map[string]label{}}
		if s.namespaces == nil {
			s.namespaces = map[string]*namespaceIndex{}
		}
		s.namespaces[svc.Namespace] = index
	}
	index.put(svc.Name, selector)
}

// Matching returns the names of the Services of a namespace that select a pod with these labels.
func (s *Selectors) Matching(namespace string, labels map[string]string) map[string]struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	index := s.namespaces[namespace]
	if index == nil {
		return nil
	}
	names := map[string]struct{}{}
	for key, value := range labels {
		for _, svc := range index.byPair[label{key, value}] {
			if api.Matches(svc.selector, labels) {
				names[svc.name] = struct{}{}
			}
		}
	}
	return names
}

func (index *namespaceIndex) put(name string, selector map[string]string) {
	var pair label
	fewest := -1
	for key, value := range selector {
		if n := len(index.byPair[label{key, value}]); fewest < 0 || n < fewest {
			pair, fewest = label{key, value}, n
		}
	}
	index.byPair[pair] = append(index.byPair[pair], indexed{name, selector})
	index.pairs[name] = pair
}

func (index *namespaceIndex) remove(name string) {
	pair, ok := index.pairs[name]
	if !ok {
		return
	}
	delete(index.pairs, name)
	rest := slices.DeleteFunc(index.byPair[pair], func(svc indexed) bool { return svc.name == name })
	if len(rest) == 0 {
		delete(index.byPair, pair)
		return
	}
	index.byPair[pair] = rest
}
