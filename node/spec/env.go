package spec

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api"
)

// EnvSources is what an environment is made from besides the pod: the Services of its namespace, the Service kubernetes, and the
// config maps and secrets that [Needs] asks for. What does not exist is absent.
type EnvSources struct {
	Services   []*corev1.Service // of the pod's namespace
	Kubernetes *corev1.Service   // default/kubernetes
	ConfigMaps map[string]*corev1.ConfigMap
	Secrets    map[string]*corev1.Secret
	Files      map[EnvFile]string // the texts of files with variables
}

// Env is a container's environment in the order of its definition, Services first. The pod's status must hold its address.
func Env(pod *corev1.Pod, c *corev1.Container, node Node, m EnvSources) ([]*runtimeapi.KeyValue, error) {
	e := &environment{values: map[string]string{}}
	for name, value := range ServiceEnv(pod, m) {
		e.set(name, value)
	}
	sort.Strings(e.order)
	for i := range c.EnvFrom {
		if err := e.from(&c.EnvFrom[i], m); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil {
			e.set(v.Name, Expand(v.Value, e.values))
			continue
		}
		value, set, err := valueFrom(pod, c, v.ValueFrom, node, m)
		if err != nil {
			return nil, err
		}
		if set {
			e.set(v.Name, value)
		}
	}
	out := make([]*runtimeapi.KeyValue, len(e.order))
	for i, name := range e.order {
		out[i] = &runtimeapi.KeyValue{Key: name, Value: []byte(e.values[name])}
	}
	return out, nil
}

type environment struct {
	order  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.order = append(e.order, name)
	}
	e.values[name] = value
}

func (e *environment) from(source *corev1.EnvFromSource, m EnvSources) error {
	values := map[string]string{}
	switch {
	case source.ConfigMapRef != nil:
		ref := source.ConfigMapRef
		found := m.ConfigMaps[ref.Name]
		if found == nil && !isTrue(ref.Optional) {
			return fmt.Errorf("configmap %q not found", ref.Name)
		}
		if found != nil {
			values = found.Data
		}
	case source.SecretRef != nil:
		ref := source.SecretRef
		found := m.Secrets[ref.Name]
		if found == nil && !isTrue(ref.Optional) {
			return fmt.Errorf("secret %q not found", ref.Name)
		}
		if found != nil {
			for k, v := range found.Data {
				values[k] = string(v)
			}
		}
	}
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		e.set(source.Prefix+k, values[k])
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// valueFrom gives a variable's value; set is false when an optional source is missing.
func valueFrom(pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource, node Node, m EnvSources) (value string, set bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = Field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = ResourceField(pod, c.Name, from.ResourceFieldRef, node)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		found := m.ConfigMaps[ref.Name]
		if found == nil {
			return "", false, missing(isTrue(ref.Optional), "configmap %q not found", ref.Name)
		}
		value, ok := found.Data[ref.Key]
		if !ok {
			return "", false, missing(isTrue(ref.Optional), "couldn't find key %v in ConfigMap %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return value, true, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		found := m.Secrets[ref.Name]
		if found == nil {
			return "", false, missing(isTrue(ref.Optional), "secret %q not found", ref.Name)
		}
		data, ok := found.Data[ref.Key]
		if !ok {
			return "", false, missing(isTrue(ref.Optional), "couldn't find key %v in Secret %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return string(data), true, nil
	case from.FileKeyRef != nil:
		return fileValue(from.FileKeyRef, m)
	}
	return "", false, nil
}

func missing(optional bool, format string, args ...any) error {
	if optional {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// ServiceEnv are the variables for Services (rule D8): those of the pod's namespace unless enableServiceLinks is false, and always
// default/kubernetes. Services without a cluster IP have none.
func ServiceEnv(pod *corev1.Pod, m EnvSources) map[string]string {
	out := map[string]string{}
	if m.Kubernetes != nil {
		serviceVars(out, m.Kubernetes)
	}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		for _, s := range m.Services {
			serviceVars(out, s)
		}
	}
	return out
}

func serviceVars(out map[string]string, s *corev1.Service) {
	ip := s.Spec.ClusterIP
	if api.Headless(s) || len(s.Spec.Ports) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	prefix := varName(s.Name)
	out[prefix+"_SERVICE_HOST"] = ip
	out[prefix+"_SERVICE_PORT"] = strconv.Itoa(int(s.Spec.Ports[0].Port))
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Name != "" {
			out[prefix+"_SERVICE_PORT_"+varName(p.Name)] = strconv.Itoa(int(p.Port))
		}
		proto := strings.ToLower(string(api.Protocol(p.Protocol)))
		port := strconv.Itoa(int(p.Port))
		url := proto + "://" + hostPort(ip, port)
		if i == 0 {
			out[prefix+"_PORT"] = url
		}
		name := prefix + "_PORT_" + port + "_" + strings.ToUpper(proto)
		out[name] = url
		out[name+"_PROTO"] = proto
		out[name+"_PORT"] = port
		out[name+"_ADDR"] = ip
	}
}

func varName(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// Expand replaces $(NAME) by the value of NAME where there is one, and $$ by $. Everything else stays as it is.
func Expand(text string, values map[string]string) string {
	var b strings.Builder
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at+1 == len(text) {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:at])
		rest := text[at+1:]
		end := strings.IndexByte(rest, ')')
		switch {
		case rest[0] == '$':
			b.WriteByte('$')
			text = rest[1:]
		case rest[0] == '(' && end > 0:
			if value, ok := values[rest[1:end]]; ok {
				b.WriteString(value)
			} else {
				b.WriteString("$" + rest[:end+1])
			}
			text = rest[end+1:]
		default:
			b.WriteByte('$')
			text = rest
		}
	}
}

// hostPort is an address with a port as URLs have it.
func hostPort(ip, port string) string {
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return ip + ":" + port
}
