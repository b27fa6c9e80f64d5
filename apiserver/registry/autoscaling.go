package registry

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	convertv1 "k8s.io/kubernetes/pkg/apis/autoscaling/v1"
	convert "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
)

func (b *builder) autoscaling() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, podAutoscalers()))
	return resources
}

// podAutoscalers are stored as of version 2, as upstream; version 1 is another form of the same objects.
func podAutoscalers() *kind[*autoscalingv2.HorizontalPodAutoscaler] {
	return adopt(foreign[*autoscalingv2.HorizontalPodAutoscaler, *autoscaling.HorizontalPodAutoscaler]{
		strategy: horizontalpodautoscaler.Strategy, status: horizontalpodautoscaler.StatusStrategy,
		in: convert.Convert_v2_HorizontalPodAutoscaler_To_autoscaling_HorizontalPodAutoscaler, out: convert.Convert_autoscaling_HorizontalPodAutoscaler_To_v2_HorizontalPodAutoscaler,
	}, kind[*autoscalingv2.HorizontalPodAutoscaler]{
		group: autoscalingv2.GroupName, version: "v2", plural: "horizontalpodautoscalers", singular: "horizontalpodautoscaler", short: []string{"hpa"}, categories: []string{"all"},
		list: func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} },
	})
}

// addAutoscaling registers autoscaling/v1 and v2. Scales are only of version 1.
func addAutoscaling(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{autoscalingv1.AddToScheme, autoscalingv2.AddToScheme, addAutoscalerConversions} {
		if err := add(s); err != nil {
			return err
		}
	}
	hub := schema.GroupVersion{Group: autoscalingv2.GroupName, Version: runtime.APIVersionInternal}
	s.AddKnownTypes(hub, &autoscalingv1.Scale{}, &autoscalingv2.HorizontalPodAutoscaler{}, &autoscalingv2.HorizontalPodAutoscalerList{})
	return s.SetVersionPriority(autoscalingv2.SchemeGroupVersion, autoscalingv1.SchemeGroupVersion)
}

// addAutoscalerConversions registers upstream's conversions between the versions, by way of its internal type.
func addAutoscalerConversions(s *runtime.Scheme) error {
	for _, c := range []struct {
		from, to any
		convert  conversion.ConversionFunc
	}{
		{&autoscalingv1.HorizontalPodAutoscaler{}, &autoscalingv2.HorizontalPodAutoscaler{}, func(in, out any, _ conversion.Scope) error {
			return autoscalerFromV1(in.(*autoscalingv1.HorizontalPodAutoscaler), out.(*autoscalingv2.HorizontalPodAutoscaler))
		}},
		{&autoscalingv2.HorizontalPodAutoscaler{}, &autoscalingv1.HorizontalPodAutoscaler{}, func(in, out any, _ conversion.Scope) error {
			return autoscalerToV1(in.(*autoscalingv2.HorizontalPodAutoscaler), out.(*autoscalingv1.HorizontalPodAutoscaler))
		}},
		{&autoscalingv1.HorizontalPodAutoscalerList{}, &autoscalingv2.HorizontalPodAutoscalerList{}, func(in, out any, _ conversion.Scope) error {
			from, to := in.(*autoscalingv1.HorizontalPodAutoscalerList), out.(*autoscalingv2.HorizontalPodAutoscalerList)
			to.ListMeta, to.Items = from.ListMeta, make([]autoscalingv2.HorizontalPodAutoscaler, len(from.Items))
			return convertEach(from.Items, to.Items, autoscalerFromV1)
		}},
		{&autoscalingv2.HorizontalPodAutoscalerList{}, &autoscalingv1.HorizontalPodAutoscalerList{}, func(in, out any, _ conversion.Scope) error {
			from, to := in.(*autoscalingv2.HorizontalPodAutoscalerList), out.(*autoscalingv1.HorizontalPodAutoscalerList)
			to.ListMeta, to.Items = from.ListMeta, make([]autoscalingv1.HorizontalPodAutoscaler, len(from.Items))
			return convertEach(from.Items, to.Items, autoscalerToV1)
		}},
	} {
		if err := s.AddConversionFunc(c.from, c.to, c.convert); err != nil {
			return err
		}
	}
	return nil
}

func autoscalerFromV1(in *autoscalingv1.HorizontalPodAutoscaler, out *autoscalingv2.HorizontalPodAutoscaler) error {
	var internal autoscaling.HorizontalPodAutoscaler
	if err := convertv1.Convert_v1_HorizontalPodAutoscaler_To_autoscaling_HorizontalPodAutoscaler(in, &internal, nil); err != nil {
		return err
	}
	return convert.Convert_autoscaling_HorizontalPodAutoscaler_To_v2_HorizontalPodAutoscaler(&internal, out, nil)
}

func autoscalerToV1(in *autoscalingv2.HorizontalPodAutoscaler, out *autoscalingv1.HorizontalPodAutoscaler) error {
	var internal autoscaling.HorizontalPodAutoscaler
	if err := convert.Convert_v2_HorizontalPodAutoscaler_To_autoscaling_HorizontalPodAutoscaler(in, &internal, nil); err != nil {
		return err
	}
	return convertv1.Convert_autoscaling_HorizontalPodAutoscaler_To_v1_HorizontalPodAutoscaler(&internal, out, nil)
}
