package upstream

import (
	"context"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/scale"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	resources "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"
)

// How autoscalers judge: upstream's defaults (--horizontal-pod-autoscaler-*).
const (
	autoscalerPeriod    = 15 * time.Second // between two looks at an autoscaler
	autoscalerDownAfter = 5 * time.Minute  // of less need
	autoscalerTolerance = 0.1              // around the target
	autoscalerPodBegins = 5 * time.Minute  // in which a pod's processor time counts only once it is ready
	autoscalerPodReady  = 30 * time.Second // in which a pod that becomes unready has not been ready yet
)

// autoscalers scale whatever has a scale subresource by what its pods use, by metrics.k8s.io, and by custom.metrics.k8s.io and
// external.metrics.k8s.io where a server behind an APIService answers for these.
func (c *Controllers) autoscalers(ctx context.Context) ([]runner, error) {
	kinds, discovery := c.kinds(), c.client.Discovery()
	scales, err := scale.NewForConfig(c.config, kinds, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(discovery))
	if err != nil {
		return nil, err
	}
	used, err := resources.NewForConfig(c.config)
	if err != nil {
		return nil, err
	}
	outside, err := external_metrics.NewForConfig(c.config)
	if err != nil {
		return nil, err
	}
	versions := custom_metrics.NewAvailableAPIsGetter(discovery)
	client := metrics.NewRESTMetricsClient(used, custom_metrics.NewForConfig(c.config, kinds, versions), outside)
	a := podautoscaler.NewHorizontalController(ctx, c.client.CoreV1(), scales, c.client.AutoscalingV2(), kinds, client,
		c.shared.Autoscaling().V2().HorizontalPodAutoscalers(), c.shared.Core().V1().Pods(),
		autoscalerPeriod, autoscalerDownAfter, autoscalerTolerance, autoscalerPodBegins, autoscalerPodReady)
	return []runner{a, forgetting{versions}}, nil
}

// forgetting has it found out anew which version of custom metrics is served.
type forgetting struct {
	custom_metrics.AvailableAPIsGetter
}

// Run is part of runner.
func (f forgetting) Run(ctx context.Context, _ int) {
	custom_metrics.PeriodicallyInvalidate(f.AvailableAPIsGetter, autoscalerPeriod, ctx.Done())
}
