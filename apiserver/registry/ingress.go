package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
)

func ingresses() *kind[*networkingv1.Ingress] {
	return &kind[*networkingv1.Ingress]{
		group: networkingv1.GroupName, plural: "ingresses", singular: "ingress", short: []string{"ing"},
		new:  func() *networkingv1.Ingress { return &networkingv1.Ingress{} },
		list: func() runtime.Object { return &networkingv1.IngressList{} },
		prepare: func(_ context.Context, ing *networkingv1.Ingress) {
			ing.Status, ing.Generation = networkingv1.IngressStatus{}, 1
		},
		prepareUpdate: func(_ context.Context, ing, old *networkingv1.Ingress) {
			ing.Status = old.Status
			if !equality.Semantic.DeepEqual(ing.Spec, old.Spec) {
				ing.Generation = old.Generation + 1 // rule I12
			}
		},
		validate:       func(_ context.Context, ing *networkingv1.Ingress) field.ErrorList { return validateNewIngress(ing) },
		validateUpdate: validateIngressUpdate,
		warn:           ingressWarnings,
		prepareStatus:  func(_ context.Context, ing, old *networkingv1.Ingress) { ing.Spec = old.Spec },
		validateStatus: validateIngressStatus,
		indexes: map[string]func(*networkingv1.Ingress) []string{
			IngressSecretIndex:    namesOf(ingressrefs.Secrets),
			IngressConfigMapIndex: namesOf(ingressrefs.ConfigMaps),
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Class", "string", "The name of the IngressClass resource that should be used for additional configuration"),
			column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
			column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
			column("Ports", "string", "Ports of TLS configurations that open"),
			age(),
		},
		row: ingressRow,
	}
}

// The indexes of Ingresses by the Secrets and ConfigMaps that they name, each as NAMESPACE/NAME: nodes may read these. They are no
// fields that a selector of a request can name.
const (
	IngressSecretIndex    = "fairlead.dev/secret"
	IngressConfigMapIndex = "fairlead.dev/configmap"
)

// namesOf has an index of what an Ingress names.
func namesOf(refs func(*networkingv1.Ingress) []types.NamespacedName) func(*networkingv1.Ingress) []string {
	return func(ing *networkingv1.Ingress) []string {
		var names []string
		for _, name := range refs(ing) {
			names = append(names, name.String())
		}
		return names
	}
}

// ingressWarnings tell of the annotation that the field has replaced.
func ingressWarnings(ing, old *networkingv1.Ingress) []string {
	if _, ok := ing.Annotations[api.AnnotationIngressClass]; ok && old == nil && ing.Spec.IngressClassName == nil {
		return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", api.AnnotationIngressClass)}
	}
	return nil
}

func ingressRow(ing *networkingv1.Ingress) []any {
	class, ports := none, "80"
	if ing.Spec.IngressClassName != nil {
		class = *ing.Spec.IngressClassName
	}
	if len(ing.Spec.TLS) > 0 {
		ports = "80, 443"
	}
	return []any{ing.Name, class, ingressHosts(ing.Spec.Rules), ingressAddresses(&ing.Status.LoadBalancer), ports, since(ing.CreationTimestamp)}
}

// ingressHosts prints the first three hosts, and how many rules there are beyond three.
func ingressHosts(rules []networkingv1.IngressRule) string {
	var hosts []string
	for i := range rules {
		if len(hosts) == 3 {
			return fmt.Sprintf("%s + %d more...", strings.Join(hosts, ","), len(rules)-3)
		}
		if rules[i].Host != "" {
			hosts = append(hosts, rules[i].Host)
		}
	}
	if len(hosts) == 0 {
		return "*"
	}
	return strings.Join(hosts, ",")
}

// ingressAddresses prints each address once, sorted.
func ingressAddresses(status *networkingv1.IngressLoadBalancerStatus) string {
	all := map[string]bool{}
	for i := range status.Ingress {
		if in := &status.Ingress[i]; in.IP != "" {
			all[in.IP] = true
		} else if in.Hostname != "" {
			all[in.Hostname] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(all)), ",")
}
