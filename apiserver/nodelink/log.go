package nodelink

import (
	"context"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"
	"k8s.io/apiserver/pkg/registry/rest"
)

// logStream serves pods/log: the agent's answer, as it comes.
type logStream struct{ link *Link }

var (
	_ rest.GetterWithOptions = logStream{}
	_ rest.StorageMetadata   = logStream{}
)

// New is part of rest.Storage.
func (logStream) New() runtime.Object { return &corev1.Pod{} }

// Destroy is part of rest.Storage.
func (logStream) Destroy() {}

// ProducesMIMETypes tells that the answer is text.
func (logStream) ProducesMIMETypes(string) []string { return []string{"text/plain"} }

// ProducesObject tells the documentation that the answer is a string.
func (logStream) ProducesObject(string) any { return "" }

// NewGetOptions is the query of a log request.
func (logStream) NewGetOptions() (runtime.Object, bool, string) {
	return &corev1.PodLogOptions{}, false, ""
}

// OverrideMetricsVerb names long log requests apart from reads of an object (as upstream).
func (logStream) OverrideMetricsVerb(verb string) string {
	if verb == "GET" {
		return "CONNECT"
	}
	return verb
}

// Get returns the stream of a container's log.
func (s logStream) Get(ctx context.Context, name string, options runtime.Object) (runtime.Object, error) {
	asked, ok := options.(*corev1.PodLogOptions)
	if !ok {
		return nil, apierrors.NewBadRequest("options of a log request expected")
	}
	if err := validateLog(asked); err != nil {
		return nil, err
	}
	pod, err := s.link.pod(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := container(pod, asked.Container)
	if err != nil {
		return nil, err
	}
	if pod.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest("pod " + pod.Name + " does not have a host assigned")
	}
	if err := started(pod, c, asked.Previous); err != nil {
		return nil, err
	}
	location, err := s.link.agent(ctx, pod)
	if err != nil {
		return nil, err
	}
	location.Path = "/containerLogs/" + pod.Namespace + "/" + pod.Name + "/" + c
	location.RawQuery = logQuery(asked).Encode()
	return &genericrest.LocationStreamer{
		Location:        location,
		Transport:       s.link.transport,
		ContentType:     "text/plain",
		Flush:           asked.Follow,
		ResponseChecker: genericrest.NewGenericHttpResponseChecker(corev1.Resource("pods/log"), name),
		RedirectChecker: genericrest.PreventRedirects,
	}, nil
}

// validateLog refuses what upstream's validation refuses, in its words.
func validateLog(o *corev1.PodLogOptions) error {
	switch {
	case o.TailLines != nil && *o.TailLines < 0:
		return apierrors.NewBadRequest("tailLines: Invalid value: must be greater than or equal to 0")
	case o.LimitBytes != nil && *o.LimitBytes < 1:
		return apierrors.NewBadRequest("limitBytes: Invalid value: must be greater than 0")
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		return apierrors.NewBadRequest("sinceSeconds: Invalid value: must be greater than 0")
	case o.SinceSeconds != nil && o.SinceTime != nil:
		return apierrors.NewBadRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
	}
	return nil
}

// logQuery is the query of the kubelet's path.
func logQuery(o *corev1.PodLogOptions) url.Values {
	q := url.Values{}
	for name, on := range map[string]bool{"follow": o.Follow, "previous": o.Previous, "timestamps": o.Timestamps} {
		if on {
			q.Set(name, "true")
		}
	}
	for name, n := range map[string]*int64{"sinceSeconds": o.SinceSeconds, "tailLines": o.TailLines, "limitBytes": o.LimitBytes} {
		if n != nil {
			q.Set(name, strconv.FormatInt(*n, 10))
		}
	}
	if o.SinceTime != nil {
		q.Set("sinceTime", o.SinceTime.Format(time.RFC3339))
	}
	if o.Stream != nil && *o.Stream != corev1.LogStreamAll {
		q.Set("stream", *o.Stream)
	}
	return q
}
