package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/network/l7/ingress"
)

// IngressRemark is one line about an Ingress: how one of its annotations compares with ingress-nginx, or what cannot be served.
type IngressRemark struct {
	Ingress, Where, Level, Text string
	Bad                         bool // it is not supported, or wrong
}

// CheckIngressFiles says what would become of the Ingresses in some files; "-" is in.
func CheckIngressFiles(files []string, in io.Reader) ([]IngressRemark, error) {
	var all []*networkingv1.Ingress
	for _, name := range files {
		var text []byte
		var err error
		if name == "-" {
			text, err = io.ReadAll(in)
		} else {
			text, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, err
		}
		found, err := readIngresses(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no Ingress in there")
	}
	return remarks(ingress.Check(all, ingress.World{}, time.Now())), nil
}

// CheckAllIngresses says what becomes of all Ingresses of a cluster: of ours by its Config, or of that which a kubeconfig leads to.
func CheckAllIngresses(ctx context.Context, c config.Config, kubeconfig, version string) ([]IngressRemark, error) {
	if kubeconfig == "" {
		inst, _, err := Locate(c)
		if err != nil {
			return nil, err
		}
		kubeconfig = inst.Path("admin.kubeconfig")
	}
	cfg, err := API{Kubeconfig: kubeconfig}.client(version)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return checkAll(ctx, client)
}

func checkAll(ctx context.Context, client kubernetes.Interface) ([]IngressRemark, error) {
	list, err := client.NetworkingV1().Ingresses(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Ingresses: %w", err)
	}
	classes, err := client.NetworkingV1().IngressClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list IngressClasses: %w", err)
	}
	services, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	secrets, err := client.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("list Secrets: %w", err)
	}
	hidden := err != nil
	configMaps, err := client.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("list ConfigMaps: %w", err)
	}
	world := ingress.Objects(classes.Items, services.Items, secrets.Items, configMaps.Items)
	if hidden {
		world.Secret = nil // who may not see them is not told that they are missing
	}
	if err != nil {
		world.ConfigMap = nil
	}
	var all []*networkingv1.Ingress
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return remarks(ingress.Check(all, world, time.Now())), nil
}

func remarks(list []ingress.Remark) []IngressRemark {
	var all []IngressRemark
	for _, r := range list {
		all = append(all, IngressRemark{r.Ingress.String(), r.Where, r.Level.String(), r.Text, r.Level > ingress.Differs})
	}
	return all
}

// readIngresses are the Ingresses in a stream of YAML or JSON documents, and in the Lists in it. Other objects are passed over.
func readIngresses(text []byte) ([]*networkingv1.Ingress, error) {
	var all []*networkingv1.Ingress
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for n := 1; ; n++ {
		var raw runtime.RawExtension
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		found, err := ingressesIn(raw.Raw)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		all = append(all, found...)
	}
}

// ingressesIn are the Ingresses in one object.
func ingressesIn(object []byte) ([]*networkingv1.Ingress, error) {
	if len(bytes.TrimSpace(object)) == 0 || string(object) == "null" {
		return nil, nil
	}
	var list struct {
		metav1.TypeMeta
		Items []runtime.RawExtension
	}
	if err := yaml.Unmarshal(object, &list.TypeMeta); err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(list.Kind, "List"):
		if err := yaml.Unmarshal(object, &list); err != nil {
			return nil, err
		}
		var all []*networkingv1.Ingress
		for _, item := range list.Items {
			found, err := ingressesIn(item.Raw)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		return all, nil
	case list.Kind != "Ingress":
		return nil, nil
	case list.APIVersion != networkingv1.SchemeGroupVersion.String():
		return nil, fmt.Errorf("an Ingress of %s: write it as %s, the others are gone since Kubernetes 1.22", list.APIVersion, networkingv1.SchemeGroupVersion)
	}
	ing := &networkingv1.Ingress{}
	if err := yaml.UnmarshalStrict(object, ing); err != nil {
		return nil, err
	}
	if ing.Namespace == "" {
		ing.Namespace = metav1.NamespaceDefault
	}
	return []*networkingv1.Ingress{ing}, nil
}
