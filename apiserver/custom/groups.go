package custom

import (
	"fmt"
	"slices"

	apiextensionshelpers "k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/client-go/tools/cache"
)

// ListGroups keeps the groups of definitions in list, the root of unaggregated discovery, which upstream's
// aggregator does in kube-apiserver. builtIn are the groups that are listed already. Call it before Start.
func (s *Server) ListGroups(list discovery.GroupManager, builtIn []string) error {
	list.AddGroup(groupOf(apiextensions.GroupName, []string{apiextensionsv1.SchemeGroupVersion.Version}))
	builtIn = append(slices.Clone(builtIn), apiextensions.GroupName)
	listed := map[string]bool{} // touched by the informer's one goroutine only
	update := func() {
		definitions, err := s.Definitions().List(labels.Everything())
		if err != nil {
			return // a list of what is in memory does not fail
		}
		now := servedVersions(definitions)
		for name := range listed {
			if now[name] == nil {
				list.RemoveGroup(name)
				delete(listed, name)
			}
		}
		for name, versions := range now {
			if !slices.Contains(builtIn, name) {
				list.AddGroup(groupOf(name, versions))
				listed[name] = true
			}
		}
	}
	registration, err := s.informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { update() },
		UpdateFunc: func(any, any) { update() },
		DeleteFunc: func(any) { update() },
	})
	if err != nil {
		return fmt.Errorf("custom resources: watch definitions: %w", err)
	}
	s.listed[1] = registration
	return nil
}

// ListedPaths are the paths of the groups, for the list at /.
func (s *Server) ListedPaths() []string {
	definitions, err := s.Definitions().List(labels.Everything())
	if err != nil {
		return nil // a list of what is in memory does not fail
	}
	groups := servedVersions(definitions)
	groups[apiextensions.GroupName] = []string{apiextensionsv1.SchemeGroupVersion.Version}
	var paths []string
	for group, versions := range groups {
		paths = append(paths, "/apis/"+group)
		for _, version := range versions {
			paths = append(paths, "/apis/"+group+"/"+version)
		}
	}
	return paths
}

// servedVersions is the versions of each group that established definitions serve, best version first.
func servedVersions(definitions []*apiextensionsv1.CustomResourceDefinition) map[string][]string {
	served := map[string][]string{}
	for _, d := range definitions {
		if !apiextensionshelpers.IsCRDConditionTrue(d, apiextensionsv1.Established) {
			continue
		}
		for _, v := range d.Spec.Versions {
			if v.Served && !slices.Contains(served[d.Spec.Group], v.Name) {
				served[d.Spec.Group] = append(served[d.Spec.Group], v.Name)
			}
		}
	}
	for _, versions := range served {
		slices.SortFunc(versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	}
	return served
}

func groupOf(name string, versions []string) metav1.APIGroup {
	g := metav1.APIGroup{Name: name}
	for _, v := range versions {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + v, Version: v})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}
