package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
)

func resourceQuotas() *kind[*corev1.ResourceQuota] {
	return adopt(foreign[*corev1.ResourceQuota, *core.ResourceQuota]{
		strategy: resourcequota.Strategy, status: resourcequota.StatusStrategy,
		in: convert.Convert_v1_ResourceQuota_To_core_ResourceQuota, out: convert.Convert_core_ResourceQuota_To_v1_ResourceQuota,
	}, kind[*corev1.ResourceQuota]{
		plural: "resourcequotas", singular: "resourcequota", short: []string{"quota"}, returns: true,
		list: func() runtime.Object { return &corev1.ResourceQuotaList{} },
	})
}

func limitRanges() *kind[*corev1.LimitRange] {
	return adopt(foreign[*corev1.LimitRange, *core.LimitRange]{
		plain: true, strategy: limitrange.Strategy,
		in: convert.Convert_v1_LimitRange_To_core_LimitRange, out: convert.Convert_core_LimitRange_To_v1_LimitRange,
	}, kind[*corev1.LimitRange]{
		plural: "limitranges", singular: "limitrange", short: []string{"limits"},
		list: func() runtime.Object { return &corev1.LimitRangeList{} },
	})
}
