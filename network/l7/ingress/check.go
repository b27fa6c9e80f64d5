package ingress

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Remark is one line of what Check says of an Ingress.
type Remark struct {
	Ingress types.NamespacedName
	Where   string // an annotation's name without its prefix, or a field
	Level   Level
	Text    string // may be empty when it is Same
}

// Check says of some Ingresses how each of their annotations compares with ingress-nginx, and what of them could not be served, as if
// all of them were this program's to serve. What world cannot tell is not found missing; its Ingress is not asked.
func Check(list []*networkingv1.Ingress, world World, now time.Time) []Remark {
	byName := map[types.NamespacedName]*networkingv1.Ingress{}
	var names []types.NamespacedName
	for _, ing := range list {
		if byName[api.Name(ing)] == nil {
			names = append(names, api.Name(ing))
		}
		byName[api.Name(ing)] = ing
	}
	slices.SortFunc(names, api.CompareNames)
	asIfOurs := world
	asIfOurs.Class = nil
	asIfOurs.Ingress = func(name types.NamespacedName) *networkingv1.Ingress { return byName[name] }
	b := NewBuilder(asIfOurs, DefaultPorts)
	b.Update(Changes{Ingresses: names})
	var remarks []Remark
	for _, name := range names {
		ing := byName[name]
		add := func(level Level, where, text string) { remarks = append(remarks, Remark{name, where, level, text}) }
		if world.Class != nil {
			checkClass(ing, world, add)
		}
		for _, l := range Annotations(ing) {
			add(l.Level, l.Annotation, l.Text)
		}
		found := b.Findings(name)
		if world.Secret != nil {
			found = append(found, Secrets(ing, world.Secret, now)...)
		}
		if world.ConfigMap != nil {
			found = append(found, ConfigMaps(ing, world.ConfigMap)...)
		}
		for _, f := range found {
			if !slices.Contains([]string{AnnotationDiffers, AnnotationUnsupported, AnnotationUnknown}, f.Code) && (f.Code != AnnotationWrong || ofSeveral(f)) {
				add(f.Level, f.Where, f.Sentence+". "+f.Remedy)
			}
		}
	}
	return remarks
}

// ofSeveral reports whether a finding about an annotation is one that its value alone does not show.
func ofSeveral(f Finding) bool { return f.Where == "rewrite-target" && f.Remedy != mendValue }

func checkClass(ing *networkingv1.Ingress, world World, add func(Level, string, string)) {
	name := api.ClassOf(ing)
	class := world.Class(name)
	switch {
	case name == "":
		add(Differs, "spec.ingressClassName", "it names no class and so is left alone: name one whose controller is "+api.IngressController)
	case class == nil:
		add(Wrong, "spec.ingressClassName", fmt.Sprintf("there is no IngressClass %s, so nobody serves it", name))
	case !api.ServesClass(class):
		add(Differs, "spec.ingressClassName", fmt.Sprintf("class %s is served by %s; what else is said here is what would be, were it %s", name, class.Spec.Controller, api.IngressController))
	}
}

// Objects answers from lists of objects, for a World.
func Objects(classes []networkingv1.IngressClass, services []corev1.Service, secrets []corev1.Secret, configMaps []corev1.ConfigMap) World {
	classOf, serviceOf, secretOf := map[string]*networkingv1.IngressClass{}, map[types.NamespacedName]*corev1.Service{}, map[types.NamespacedName]*corev1.Secret{}
	for i := range classes {
		classOf[classes[i].Name] = &classes[i]
	}
	for i := range services {
		serviceOf[api.Name(&services[i])] = &services[i]
	}
	for i := range secrets {
		secretOf[api.Name(&secrets[i])] = &secrets[i]
	}
	mapOf := map[types.NamespacedName]*corev1.ConfigMap{}
	for i := range configMaps {
		mapOf[api.Name(&configMaps[i])] = &configMaps[i]
	}
	return World{
		ConfigMap: func(name types.NamespacedName) *corev1.ConfigMap { return mapOf[name] },
		Class:     func(name string) *networkingv1.IngressClass { return classOf[name] },
		Service:   func(name types.NamespacedName) *corev1.Service { return serviceOf[name] },
		Secret:    func(name types.NamespacedName) *corev1.Secret { return secretOf[name] },
	}
}
