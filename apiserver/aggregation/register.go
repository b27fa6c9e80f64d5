package aggregation

import (
	"context"
	"errors"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	helper "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"fairlead.dev/fairlead/apiserver/registry"
)

// Groups is list, and the server told of the groups of definitions that come and go there.
func (s *Server) Groups(list discovery.GroupManager) discovery.GroupManager { return noting{list, s} }

type noting struct {
	discovery.GroupManager
	s *Server
}

// AddGroup is part of discovery.GroupManager.
func (n noting) AddGroup(g metav1.APIGroup) {
	n.GroupManager.AddGroup(g)
	var versions []schema.GroupVersion
	for _, v := range g.Versions {
		versions = append(versions, schema.GroupVersion{Group: g.Name, Version: v.Version})
	}
	n.s.note(g.Name, versions)
}

// RemoveGroup is part of discovery.GroupManager.
func (n noting) RemoveGroup(name string) {
	n.GroupManager.RemoveGroup(name)
	n.s.note(name, nil)
}

func (s *Server) note(group string, versions []schema.GroupVersion) {
	s.mu.Lock()
	same := slices.Equal(s.custom[group], versions)
	s.custom[group] = versions
	s.mu.Unlock()
	if !same {
		s.changed()
	}
}

// own are the groups that this server answers for.
func (s *Server) own() []schema.GroupVersion {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.builtIn)
	for _, versions := range s.custom {
		all = append(all, versions...)
	}
	return all
}

func (s *Server) ours(gv schema.GroupVersion) bool {
	return slices.Contains(s.own(), gv) && !yields(gv)
}

// yields reports whether this server answers for a group only while nobody else does: a metrics-server goes before ours.
func yields(gv schema.GroupVersion) bool { return gv == metricsv1beta1.SchemeGroupVersion }

// yielded is a group of this server that others answered for.
func (s *Server) yielded(name string) *metav1.APIGroup {
	for _, gv := range s.builtIn {
		if gv.Group == name {
			version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
			return &metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}
		}
	}
	return nil
}

// register keeps an APIService for every group of this server: upstream's strategy calls it available when it is made. Those that
// were kept for a group that is gone go, too.
func (s *Server) register(ctx context.Context, all []*apiregistrationv1.APIService) error {
	services := s.config.Client.ApiregistrationV1().APIServices()
	wanted := map[string]bool{}
	var errs []error
	for _, gv := range s.own() {
		if yields(gv) {
			continue // whoever installs the other owns its APIService from the first field on
		}
		want := s.local(gv)
		wanted[want.Name] = true
		i := slices.IndexFunc(all, func(have *apiregistrationv1.APIService) bool { return have.Name == want.Name })
		if i < 0 {
			if _, err := services.Create(ctx, want, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
				errs = append(errs, err)
			}
		} else if have := all[i]; have.Spec.Service != nil || have.Labels[autoregister.AutoRegisterManagedLabel] == "" {
			have = have.DeepCopy()
			have.Spec, have.Labels = want.Spec, want.Labels
			if _, err := services.Update(ctx, have, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
				errs = append(errs, err)
			}
		}
	}
	for _, have := range all {
		if have.Labels[autoregister.AutoRegisterManagedLabel] == "true" && !wanted[have.Name] && have.Spec.Service == nil {
			if err := services.Delete(ctx, have.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))}); err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// local is the APIService of a group of this server, those of definitions with upstream's priorities.
func (s *Server) local(gv schema.GroupVersion) *apiregistrationv1.APIService {
	group, version, label := int32(1000), int32(100), "true"
	if slices.Contains(s.builtIn, gv) {
		group, version, label = 17000, 15, "onstart"
	}
	if gv.Group == "" {
		group, version = 18000, 1
	}
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: gv.Version + "." + gv.Group, Labels: map[string]string{autoregister.AutoRegisterManagedLabel: label}},
		Spec:       apiregistrationv1.APIServiceSpec{Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: group, VersionPriority: version},
	}
}

// tell writes whether an APIService is available, when that has changed.
func (s *Server) tell(ctx context.Context, service *apiregistrationv1.APIService, reason string, why error) error {
	now := apiregistrationv1.APIServiceCondition{Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, LastTransitionTime: metav1.Now(),
		Reason: "Passed", Message: "all checks passed"}
	if why != nil {
		now.Status, now.Reason, now.Message = apiregistrationv1.ConditionFalse, reason, why.Error()
	}
	was := helper.GetAPIServiceConditionByType(service, apiregistrationv1.Available)
	if was != nil && was.Status == now.Status && was.Reason == now.Reason {
		return nil // a message that changes alone, with an address in it, would be written for ever
	}
	service = service.DeepCopy()
	helper.SetAPIServiceCondition(service, now)
	_, err := s.config.Client.ApiregistrationV1().APIServices().UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // whoever was faster is seen soon
	}
	return err
}

// serveGroup answers for a group of others, whose versions may be of several.
func (s *Server) serveGroup(w http.ResponseWriter, r *http.Request, name string) bool {
	groups, err := s.groups.Groups(r.Context(), r)
	if err != nil {
		return false
	}
	for _, g := range groups {
		if g.Name == name && slices.ContainsFunc(g.Versions, func(v metav1.GroupVersionForDiscovery) bool {
			return (*s.remote.Load())[schema.GroupVersion{Group: name, Version: v.Version}] != nil
		}) {
			discovery.NewAPIGroupHandler(registry.Codecs, g).ServeHTTP(w, r)
			return true
		}
	}
	return false
}
