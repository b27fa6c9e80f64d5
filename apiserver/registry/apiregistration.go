package registry

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/registry/apiservice"
)

// apiRegistration is the kind by which groups are known that somebody else answers for.
func (b *builder) apiRegistration() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, apiServices()))
	return resources
}

func apiServices() *kind[*apiregistrationv1.APIService] {
	return adopt(foreign[*apiregistrationv1.APIService, *apiregistration.APIService]{
		strategy: apiservice.NewStrategy(nil), status: apiservice.NewStatusStrategy(nil),
		in:  apiregistrationv1.Convert_v1_APIService_To_apiregistration_APIService,
		out: apiregistrationv1.Convert_apiregistration_APIService_To_v1_APIService,
	}, kind[*apiregistrationv1.APIService]{
		group: apiregistrationv1.GroupName, plural: "apiservices", singular: "apiservice",
		list:    func() runtime.Object { return &apiregistrationv1.APIServiceList{} },
		columns: []metav1.TableColumnDefinition{name(), column("Service", "string", "Who answers for the group."), column("Available", "string", "Whether they do."), age()},
		row:     apiServiceRow,
	})
}

func apiServiceRow(s *apiregistrationv1.APIService) []any {
	by, available := "Local", "Unknown"
	if to := s.Spec.Service; to != nil {
		by = to.Namespace + "/" + to.Name
	}
	for _, c := range s.Status.Conditions {
		if c.Type != apiregistrationv1.Available {
			continue
		}
		available = string(c.Status)
		if c.Status != apiregistrationv1.ConditionTrue {
			available += " (" + c.Reason + ")"
		}
	}
	return []any{s.Name, by, available, since(s.CreationTimestamp)}
}
