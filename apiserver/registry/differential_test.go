//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package registry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	core "k8s.io/kubernetes/pkg/apis/core"
	convertcore "k8s.io/kubernetes/pkg/apis/core/v1"
	validationcore "k8s.io/kubernetes/pkg/apis/core/validation"
	discovery "k8s.io/kubernetes/pkg/apis/discovery"
	convertdiscovery "k8s.io/kubernetes/pkg/apis/discovery/v1"
	validationdiscovery "k8s.io/kubernetes/pkg/apis/discovery/validation"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"sigs.k8s.io/yaml"
)

// generated is how many objects of a kind are generated.
const generated = 4000

// TestServicesAsUpstream, TestEndpointsAsUpstream and TestSlicesAsUpstream: of generated objects, right and wrong in some way, our
// own rules say what upstream's say: the same defaults, the same verdict, the same words.
func TestServicesAsUpstream(t *testing.T) {
	upstream := adopt(foreign[*corev1.Service, *core.Service]{
		strategy: service.Strategy, status: service.StatusStrategy,
		in: convertcore.Convert_v1_Service_To_core_Service, out: convertcore.Convert_core_Service_To_v1_Service,
	}, kind[*corev1.Service]{plural: "services"})
	differ(t, services(serviceRules{allowExternalIPs: true}), upstream, convertcore.SetObjectDefaults_Service, `
- metadata: {name: a, namespace: x, annotations: {a: b}}
  spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
- metadata: {name: a, namespace: x}
  spec: {type: NodePort, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00::7'], ipFamilies: [IPv4, IPv6], ipFamilyPolicy: PreferDualStack, ports: [{name: a, port: 80, nodePort: 30000}, {name: b, port: 53, protocol: UDP, nodePort: 30001, appProtocol: kubernetes.io/h2c}]}
- metadata: {name: a, namespace: x, annotations: {service.beta.kubernetes.io/load-balancer-source-ranges: 10.0.0.0/8, service.kubernetes.io/topology-mode: Auto}}
  spec: {type: LoadBalancer, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, externalTrafficPolicy: Local, healthCheckNodePort: 31000, loadBalancerClass: a/b, loadBalancerSourceRanges: [10.0.0.0/8], externalIPs: [192.0.2.1], ports: [{port: 443, nodePort: 30000}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}}
  status: {loadBalancer: {ingress: [{ip: 192.0.2.9, ipMode: VIP}, {hostname: a.b}]}}
- metadata: {name: a, namespace: x}
  spec: {clusterIP: None, clusterIPs: [None], ipFamilies: [IPv6], ipFamilyPolicy: SingleStack, publishNotReadyAddresses: true, internalTrafficPolicy: Local, trafficDistribution: PreferSameZone}
- metadata: {name: a, namespace: x}
  spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}
`)
}

func TestEndpointsAsUpstream(t *testing.T) {
	//lint:ignore SA1019 Endpoints are deprecated but part of the API that people use.
	upstream := adopt(foreign[*corev1.Endpoints, *core.Endpoints]{
		strategy: validating{service.Strategy,
			func(obj runtime.Object) field.ErrorList {
				return validationcore.ValidateEndpointsCreate(obj.(*core.Endpoints))
			},
			func(obj, old runtime.Object) field.ErrorList {
				return validationcore.ValidateEndpointsUpdate(obj.(*core.Endpoints), old.(*core.Endpoints))
			},
		},
		in: convertcore.Convert_v1_Endpoints_To_core_Endpoints, out: convertcore.Convert_core_Endpoints_To_v1_Endpoints,
	}, kind[*corev1.Endpoints]{plural: "endpoints"})
	differ(t, endpoints(), upstream, convertcore.SetObjectDefaults_Endpoints, `
- metadata: {name: a, namespace: x}
  subsets: [{addresses: [{ip: 10.0.0.1, nodeName: n1, hostname: h}], notReadyAddresses: [{ip: 'fd00::1', targetRef: {kind: Pod, name: p}}], ports: [{port: 80}]}]
- metadata: {name: a, namespace: x}
  subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{name: a, port: 80, protocol: TCP, appProtocol: http}, {name: b, port: 53, protocol: UDP}]}, {notReadyAddresses: [{ip: 10.0.0.2}]}]
- metadata: {name: a.b, namespace: x}
`)
}

func TestSlicesAsUpstream(t *testing.T) {
	upstream := adopt(foreign[*discoveryv1.EndpointSlice, *discovery.EndpointSlice]{
		strategy: validating{service.Strategy,
			func(obj runtime.Object) field.ErrorList {
				return validationdiscovery.ValidateEndpointSliceCreate(obj.(*discovery.EndpointSlice))
			},
			func(obj, old runtime.Object) field.ErrorList {
				return validationdiscovery.ValidateEndpointSliceUpdate(obj.(*discovery.EndpointSlice), old.(*discovery.EndpointSlice))
			},
		},
		in: convertdiscovery.Convert_v1_EndpointSlice_To_discovery_EndpointSlice, out: convertdiscovery.Convert_discovery_EndpointSlice_To_v1_EndpointSlice,
	}, kind[*discoveryv1.EndpointSlice]{group: discoveryv1.GroupName, plural: "endpointslices"})
	differ(t, endpointSlices(), upstream, convertdiscovery.SetObjectDefaults_EndpointSlice, `
- metadata: {name: a, namespace: x}
  addressType: IPv4
  endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, hostname: h, nodeName: n1, zone: z, hints: {forZones: [{name: z}], forNodes: [{name: n1}]}}, {addresses: [10.0.0.2, 10.0.0.3]}]
  ports: [{name: a, port: 80, protocol: TCP, appProtocol: http}, {name: b, port: 53, protocol: UDP}]
- metadata: {name: a, namespace: x}
  addressType: IPv6
  endpoints: [{addresses: ['fd00::1']}]
  ports: [{}]
- metadata: {name: a, namespace: x}
  addressType: FQDN
  endpoints: [{addresses: [a.example.com]}]
`)
}

// validating is a strategy that validates something else. Upstream's strategies of Endpoints and EndpointSlices need its controllers
// to link, and are these functions.
type validating struct {
	foreignStrategy
	create func(obj runtime.Object) field.ErrorList
	update func(obj, old runtime.Object) field.ErrorList
}

func (v validating) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return v.create(obj)
}

func (v validating) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return v.update(obj, old)
}

// differ holds a row of ours against upstream's on objects that are made from samples by mutations.
func differ[T object](t *testing.T, ours, upstream *kind[T], defaults func(T), samples string) {
	var objects []map[string]any
	if err := yaml.UnmarshalStrict([]byte(samples), &objects); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	complaints := map[string]string{}
	refused, accepted := 0, 0
	var none T
	for range generated {
		was := ours.new()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(objects[r.IntN(len(objects))], was, true); err != nil {
			t.Fatal(err)
		}
		was.SetResourceVersion("1")
		defaults(was)
		now := was.DeepCopyObject().(T)
		for range 1 + r.IntN(3) {
			mutate(r, reflect.ValueOf(now).Elem(), 0)
		}
		now.SetResourceVersion("1")
		theirs := now.DeepCopyObject().(T)
		Scheme.Default(now)
		if defaults(theirs); !equality.Semantic.DeepEqual(now, theirs) {
			complaints["defaults"] = fmt.Sprintf("ours %+v\nupstream %+v", now, theirs)
			continue
		}
		for _, c := range []struct {
			what string
			say  func(k *kind[T]) field.ErrorList
		}{
			{"create", func(k *kind[T]) field.ErrorList { return words(k, now, none) }},
			{"update", func(k *kind[T]) field.ErrorList { return words(k, now, was) }},
			{"status", func(k *kind[T]) field.ErrorList {
				if k.validateStatus == nil {
					return nil
				}
				return k.validateStatus(t.Context(), now, was)
			}},
		} {
			if c.what != "create" {
				now.SetName(was.GetName()) // what a request cannot change
			}
			mine, other := sentences(c.say(ours)), sentences(c.say(upstream))
			if len(other) > 0 {
				refused++
			} else {
				accepted++
			}
			for _, s := range mine {
				if !slices.Contains(other, s) && !stricter.MatchString(s) {
					complaints[c.what+": only ours: "+shape(s)] = s + "\n\tupstream: " + strings.Join(other, "; ")
				}
			}
			for _, s := range other {
				if !slices.Contains(mine, s) {
					complaints[c.what+": only upstream: "+shape(s)] = s + "\n\tours: " + strings.Join(mine, "; ")
				}
			}
		}
	}
	for about, example := range complaints {
		t.Errorf("%s\n\t%s", about, example)
	}
	if refused < generated/10 || accepted < generated/10 {
		t.Errorf("%d refused and %d accepted: the objects try too little", refused, accepted)
	}
}

// stricter are the rules of ours that upstream does not have: the proxies rely on the ports and zones of EndpointSlices.
var stricter = regexp.MustCompile(`^(ports\[[0-9]+\]\.port|endpoints\[[0-9]+\]\.zone): Invalid value`)

// words are what a row says of an object, old being nil where it is created.
func words[T object](k *kind[T], now, old T) field.ErrorList {
	var none T
	s := newStrategy(k)
	if any(old) == any(none) {
		return s.ValidateDeclaratively(context.Background(), now, nil, s.Validate(context.Background(), now), operation.Create, s.DeclarativeValidationConfig(context.Background(), now, nil))
	}
	return s.ValidateDeclaratively(context.Background(), now, old, s.ValidateUpdate(context.Background(), now, old), operation.Update, s.DeclarativeValidationConfig(context.Background(), now, old))
}

func sentences(errs field.ErrorList) []string {
	list := make([]string, len(errs))
	for i := range errs {
		list[i] = errs[i].Error()
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// shape is a sentence without its values, so that one difference is told once.
func shape(sentence string) string {
	words := strings.SplitN(regexp.MustCompile(`\[[0-9]+\]`).ReplaceAllString(sentence, "[]"), ": ", 4)
	return strings.Join(append(words[:min(2, len(words))], words[len(words)-1][:min(30, len(words[len(words)-1]))]), ": ")
}

// Values that mean something somewhere, and some that mean nothing anywhere.
var (
	texts = []string{"", "a", "A", "a.b", "a/b", "a/b/c", "-a", "a b", strings.Repeat("a", 64), "http", "TCP", "tcp", "UDP", "SCTP", "None", "none", "10.96.0.9",
		"010.1.1.1", "fd00::9", "FD00::9", "::ffff:10.0.0.1", "0.0.0.0", "::", "127.0.0.1", "::1", "169.254.1.1", "224.0.0.5", "ff02::1", "1.2.3.4/8", "10.0.0.0/8", "10.0.0.1/8", "fd00::/8",
		"ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "ClientIP", "Local", "Cluster", "IPv4", "IPv6", "FQDN", "SingleStack", "PreferDualStack", "RequireDualStack",
		"PreferClose", "PreferSameZone", "PreferSameNode", "Auto", "VIP", "example.com", "example.com.", "_a.b"}
	numbersTried = []int64{-1, 0, 1, 53, 80, 443, 10250, 30000, 30001, 31000, 65535, 65536, 86400, 86401}
)

// mutate changes one thing somewhere in v.
func mutate(r *rand.Rand, v reflect.Value, depth int) {
	if port, ok := v.Addr().Interface().(*intstr.IntOrString); ok {
		if *port = intstr.FromInt32(int32(numbersTried[r.IntN(len(numbersTried))])); r.IntN(2) == 0 {
			*port = intstr.FromString(texts[r.IntN(len(texts))])
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if name := v.Type().Name(); name == "TypeMeta" || name == "Time" {
			return
		}
		i := r.IntN(v.NumField())
		if depth == 0 { // mostly what the kind is about
			if i = 2 + r.IntN(v.NumField()-2); r.IntN(8) == 0 {
				mutateMeta(r, v.Field(1).Addr().Interface().(interface {
					SetName(string)
					SetAnnotations(map[string]string)
				}))
				return
			}
		}
		if v.Type().Field(i).Name != "DeprecatedTopology" { // which is dropped before anything is validated
			mutate(r, v.Field(i), depth+1)
		}
	case reflect.Pointer:
		if r.IntN(4) == 0 {
			v.SetZero()
			return
		}
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() && r.IntN(2) == 0 {
			fresh.Elem().Set(v.Elem())
		}
		mutate(r, fresh.Elem(), depth+1)
		v.Set(fresh)
	case reflect.Slice:
		mutateSlice(r, v, depth)
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf(texts[r.IntN(len(texts))]), reflect.ValueOf(texts[r.IntN(len(texts))]))
		}
	case reflect.String:
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Int32, reflect.Int64:
		v.SetInt(numbersTried[r.IntN(len(numbersTried))])
	case reflect.Bool:
		v.SetBool(!v.Bool())
	}
}

func mutateSlice(r *rand.Rand, v reflect.Value, depth int) {
	fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len()+1)
	reflect.Copy(fresh, v)
	switch n := v.Len(); {
	case n == 0 || r.IntN(6) == 0: // one more
		one := reflect.New(v.Type().Elem()).Elem()
		mutate(r, one, depth+1)
		fresh = reflect.Append(fresh, one)
	case r.IntN(6) == 0: // one twice
		fresh = reflect.Append(fresh, fresh.Index(r.IntN(n)))
	case r.IntN(6) == 0: // one less
		fresh = fresh.Slice(0, n-1)
	case r.IntN(40) == 0 && n < 4: // very many
		for range 120 {
			fresh = reflect.Append(fresh, fresh.Index(0))
		}
	default:
		mutate(r, fresh.Index(r.IntN(n)), depth+1)
	}
	v.Set(fresh)
}

func mutateMeta(r *rand.Rand, meta interface {
	SetName(string)
	SetAnnotations(map[string]string)
}) {
	if r.IntN(2) == 0 {
		meta.SetName(texts[r.IntN(len(texts))])
		return
	}
	names := []string{corev1.AnnotationLoadBalancerSourceRangesKey, corev1.AnnotationTopologyMode, corev1.DeprecatedAnnotationTopologyAwareHints}
	meta.SetAnnotations(map[string]string{names[r.IntN(3)]: texts[r.IntN(len(texts))], names[r.IntN(3)]: texts[r.IntN(len(texts))]})
}
