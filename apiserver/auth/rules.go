package auth

import (
	"context"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"fairlead.dev/fairlead/api/kinds"
)

const (
	// NodeUserPrefix begins the user name of a node: system:node:NAME.
	NodeUserPrefix = "system:node:"
	// leaseNamespace holds one Lease per node, its heartbeat.
	leaseNamespace = "kube-node-lease"
	podNodeField   = "spec.nodeName" // of pods, and of requests for their certificates
	certificates   = certificatesv1.GroupName
)

// rule allows verbs on resources of one API group; "*" is every one. A resource with a subresource reads
// "pods/status". Paths are for requests outside the API groups; a final * matches any rest.
type rule struct {
	verbs     []string
	group     string
	resources []string
	paths     []string
	namespace string // "" is every namespace
	limit     limit
}

// limit narrows a rule to what belongs to the asking node, as far as the request's URL tells. What only
// the object tells is checked at admission, see NodeRestriction.
type limit int

const (
	unlimited limit = iota
	ownName         // the object is named like the node; a create carries no name and passes here
	ownPods         // lists and watches must select spec.nodeName=NODE
	bound           // the pod, or what was asked for it, is bound to the node
	mounted         // a pod that is bound to the node refers to the claim that the volume is bound to
	referred        // a pod that is bound to the node refers to the object, and a list or watch selects only that
	served          // what nodes serve names the object, and a list or watch selects only that: metadata.name=NAME
)

func read() []string { return []string{"get", "list", "watch"} }

// publicRules is what anybody may do, a credential or not, roles or none: find out whether the server lives.
func publicRules() []rule {
	return []rule{{verbs: []string{"get", "head"}, paths: publicPaths()}}
}

// nodeRules is what a node agent may do: read what its proxy, DNS and pods need, and write what is its own
// (upstream's system:node with NodeRestriction).
func nodeRules() []rule {
	return []rule{
		{verbs: read(), resources: []string{"services", "endpoints", "nodes", "namespaces"}},
		{verbs: read(), resources: []string{"secrets", "configmaps"}, limit: referred},
		{verbs: read(), resources: []string{"secrets", "configmaps"}, limit: served},
		{verbs: []string{"get"}, resources: []string{"persistentvolumeclaims"}, limit: referred},
		{verbs: []string{"get"}, resources: []string{"persistentvolumes"}, limit: mounted},
		{verbs: []string{"list", "watch"}, group: "gateway.networking.k8s.io", resources: []string{
			"gatewayclasses", "gateways", "listenersets", "httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes", "referencegrants", "backendtlspolicies",
		}},
		{verbs: read(), group: "discovery.k8s.io", resources: []string{"endpointslices"}},
		{verbs: read(), group: "networking.k8s.io", resources: []string{"ingresses", "ingressclasses", "servicecidrs", "networkpolicies"}},
		{verbs: []string{"get"}, group: "node.k8s.io", resources: []string{"runtimeclasses"}},
		{verbs: read(), group: kinds.GroupName, resources: []string{"addresspools", "bgppeers", "podpeers"}},
		{verbs: []string{"list", "watch"}, resources: []string{"pods"}, limit: ownPods},
		{verbs: []string{"get"}, resources: []string{"pods"}, limit: bound},
		{verbs: []string{"delete"}, resources: []string{"pods"}},
		{verbs: []string{"update", "patch"}, resources: []string{"pods/status"}},
		{verbs: []string{"create"}, resources: []string{"serviceaccounts/token"}, limit: referred},
		{verbs: []string{"get"}, resources: []string{"serviceaccounts"}, limit: referred},
		{verbs: []string{"create", "get", "list", "watch"}, group: certificates, resources: []string{"certificatesigningrequests"}},
		{verbs: read(), group: certificates, resources: []string{"clustertrustbundles"}},
		{verbs: []string{"create"}, group: certificates, resources: []string{"podcertificaterequests"}},
		{verbs: []string{"list", "watch"}, group: certificates, resources: []string{"podcertificaterequests"}, limit: ownPods},
		{verbs: []string{"get"}, group: certificates, resources: []string{"podcertificaterequests"}, limit: bound},
		{verbs: []string{"create"}, resources: []string{"nodes"}},
		{verbs: []string{"update", "patch"}, resources: []string{"nodes", "nodes/status"}, limit: ownName},
		{verbs: []string{"create", "update", "patch"}, resources: []string{"events"}},
		{verbs: []string{"create", "update", "patch"}, group: "events.k8s.io", resources: []string{"events"}},
		{verbs: []string{"create", "get", "update", "patch", "delete"}, group: "coordination.k8s.io", resources: []string{"leases"}, namespace: leaseNamespace, limit: ownName},
	}
}

// tables are the rules that are a table here and not roles, made once: no role that is broken takes from them, and none could give
// what only a node's pods tell.
var tables = struct{ anybody, nodes []rule }{publicRules(), slices.Concat(publicRules(), nodeRules())}

func rulesOf(isNode bool) []rule {
	if isNode {
		return tables.nodes
	}
	return tables.anybody
}

// NodeName is the node a user speaks for: a member of system:nodes named system:node:NAME.
func NodeName(u user.Info) (name string, isNode bool) {
	name, ok := strings.CutPrefix(u.GetName(), NodeUserPrefix)
	return name, ok && name != "" && slices.Contains(u.GetGroups(), user.NodesGroup)
}

// covers says whether a rule is about a request, its limit aside.
func (r rule) covers(a authorizer.Attributes) bool {
	if !matches(r.verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(r.paths, func(p string) bool { return pathMatches(p, a.GetPath()) })
	}
	return r.coversResource(a)
}

func (r rule) coversResource(a authorizer.Attributes) bool {
	resource := a.GetResource()
	if sub := a.GetSubresource(); sub != "" {
		resource += "/" + sub
	}
	return (r.group == "*" || r.group == a.GetAPIGroup()) &&
		matches(r.resources, resource) &&
		(r.namespace == "" || r.namespace == a.GetNamespace())
}

// allows says whether what a request is about belongs to node.
func (l limit) allows(ctx context.Context, a authorizer.Attributes, node string, known *Bound) (bool, error) {
	switch l {
	case ownName:
		return a.GetName() == node || a.GetName() == "" && a.GetVerb() == "create", nil
	case ownPods:
		return selects(a, node), nil
	case bound:
		return known.bound(ctx, a.GetResource(), a.GetNamespace(), a.GetName(), node)
	case referred:
		return known.refers(ctx, node, a.GetNamespace(), a.GetResource(), a.GetName())
	case mounted:
		return known.mounts(ctx, node, a.GetName())
	case served: // the name of a list or watch is the one it selects, as k8s.io/apiserver reads requests
		return known.serves(ctx, a.GetResource(), types.NamespacedName{Namespace: a.GetNamespace(), Name: a.GetName()})
	}
	return true, nil
}

// selects says whether a list or watch asks only for what is on node.
func selects(a authorizer.Attributes, node string) bool {
	fields, err := a.GetFieldSelector()
	if err != nil {
		return false
	}
	for _, f := range fields {
		if f.Field == podNodeField && f.Value == node && (f.Operator == "=" || f.Operator == "==") {
			return true
		}
	}
	return false
}

func matches(list []string, value string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, value)
}

func pathMatches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}
