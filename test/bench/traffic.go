package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// web is a Deployment of demoapp with 1 s readiness probes, and its Service.
func web(namespace, name string, replicas int, extra string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{key: node.kubernetes.io/disk-pressure, operator: Exists}] # how full this host's disk is, is no matter of what is measured
%[4]s      containers:
      - name: demoapp
        image: ikubernetes/demoapp:v1.0
        readinessProbe: {httpGet: {path: /readyz, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  clusterIP: 10.96.0.77
  selector: {app: %[2]s}
  ports: [{port: 80}]
`, namespace, name, replicas, extra)
}

func namespace(name string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n---\n"
}

// firstAnswer times `kubectl apply` of two pods and a Service until the ClusterIP answers, and beside it one request
// to the answering Service, which is what any system would need at least.
func (c *cluster) firstAnswer(ctx context.Context, runs int) ([]row, error) {
	var took, floor []time.Duration
	for i := range runs {
		ns := fmt.Sprintf("first-%d", i)
		start := time.Now()
		if err := c.apply(ctx, namespace(ns)+web(ns, "web", 2, "")); err != nil {
			return nil, err
		}
		if err := answer(ctx, "http://10.96.0.77/"); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
		start = time.Now()
		if err := answer(ctx, "http://10.96.0.77/"); err != nil {
			return nil, err
		}
		floor = append(floor, time.Since(start))
		if err := c.gone(ctx, ns); err != nil {
			return nil, err
		}
	}
	return []row{{"`kubectl apply` of 2 pods + Service until the ClusterIP answers (1 s probes)", spread(took), "one request: " + spread(floor), atMost(700*time.Millisecond, median(took))}}, nil
}

// propagation times a pod's status change until the kernel holds the rule. The pod has a readiness gate; its
// condition is switched through the API, the agent answers with a new Ready condition, and the kernel's own notice of
// changed elements ends the measurement. The baseline is the same kind of write until a watch delivers it, the least any
// such system can take for one of the three writes.
func (c *cluster) propagation(ctx context.Context, runs int) ([]row, error) {
	changes, stop, err := kernelChanges()
	if err != nil {
		return nil, err
	}
	defer stop()
	whole, fromStatus, err := c.flips(ctx, changes, runs*20)
	if err != nil {
		return nil, err
	}
	deleted, err := c.deletions(ctx, changes, runs)
	if err != nil {
		return nil, err
	}
	floor, err := c.watchLatency(ctx, runs*20, 0)
	if err != nil {
		return nil, err
	}
	return []row{
		{"pod status change (Ready seen on a watch) -> kernel rule", percentiles(fromStatus), "write -> watch event: " + percentiles(floor), within(10*time.Millisecond, 50*time.Millisecond, fromStatus)},
		{"readiness gate patched -> agent -> Ready -> slice -> kernel rule (three writes)", percentiles(whole), "as above", budget{}},
		{"delete a pod -> its rule is gone", spread(deleted), "as above", atMost(100*time.Millisecond, median(deleted))},
	}, nil
}

// flips switches a pod's readiness n times and times each from the patch, and from the Ready condition's event, to the
// kernel.
func (c *cluster) flips(ctx context.Context, changes chan time.Time, n int) (whole, fromStatus []time.Duration, err error) {
	ns := "gate"
	if err := c.apply(ctx, namespace(ns)+web(ns, "web", 1, "      readinessGates: [{conditionType: bench.fairlead.dev/gate}]\n")); err != nil {
		return nil, nil, err
	}
	pod, err := c.runningPod(ctx, ns)
	if err != nil {
		return nil, nil, err
	}
	w, err := c.client.CoreV1().Pods(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + pod})
	if err != nil {
		return nil, nil, err
	}
	defer w.Stop()
	for i := range n {
		time.Sleep(50 * time.Millisecond) // what followed from the change before has settled
		drain(changes)
		start := time.Now()
		if err := c.setGate(ctx, ns, pod, i%2 == 0); err != nil {
			return nil, nil, err
		}
		seen := awaitReady(w, i%2 == 0)
		select {
		case at := <-changes:
			whole = append(whole, at.Sub(start))
			fromStatus = append(fromStatus, max(0, at.Sub(seen)))
		case <-time.After(5 * time.Second):
			return nil, nil, fmt.Errorf("pod status change %d did not reach the kernel", i)
		}
	}
	return whole, fromStatus, c.gone(ctx, ns)
}

// awaitReady is the moment when a watch shows the pod's Ready condition as wanted.
func awaitReady(w watch.Interface, ready bool) time.Time {
	for event := range w.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		for _, cond := range pod.Status.Conditions {
			if cond.Type == corev1.PodReady && (cond.Status == corev1.ConditionTrue) == ready {
				return time.Now()
			}
		}
	}
	return time.Now()
}

// deletions times deleting one of three pods that take traffic until its rule is gone. (The last pod of a Service keeps
// its rule while it terminates, as upstream's proxy does.)
func (c *cluster) deletions(ctx context.Context, changes chan time.Time, runs int) ([]time.Duration, error) {
	ns := "delete"
	if err := c.apply(ctx, namespace(ns)+web(ns, "web", 3, "")); err != nil {
		return nil, err
	}
	var took []time.Duration
	for range runs {
		if err := c.ready(ctx, ns, 3); err != nil {
			return nil, err
		}
		pod, err := c.runningPod(ctx, ns)
		if err != nil {
			return nil, err
		}
		time.Sleep(500 * time.Millisecond) // what follows from the pod before has settled
		drain(changes)
		start := time.Now()
		if err := c.client.CoreV1().Pods(ns).Delete(ctx, pod, metav1.DeleteOptions{}); err != nil {
			return nil, err
		}
		select {
		case at := <-changes:
			took = append(took, at.Sub(start))
		case <-time.After(5 * time.Second):
			return nil, fmt.Errorf("deleting pod %s did not reach the kernel", pod)
		}
		time.Sleep(1500 * time.Millisecond) // the Deployment has noticed, its successor starts
	}
	return took, c.gone(ctx, ns)
}

func (c *cluster) runningPod(ctx context.Context, ns string) (string, error) {
	for ctx.Err() == nil {
		list, err := c.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp != nil {
				continue
			}
			for _, cond := range p.Status.Conditions {
				if cond.Type == corev1.ContainersReady && cond.Status == corev1.ConditionTrue {
					return p.Name, nil
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", ctx.Err()
}

func (c *cluster) setGate(ctx context.Context, ns, pod string, open bool) error {
	status := corev1.ConditionFalse
	if open {
		status = corev1.ConditionTrue
	}
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"bench.fairlead.dev/gate","status":%q}]}}`, status)
	_, err := c.client.CoreV1().Pods(ns).Patch(ctx, pod, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	return err
}

// watchLatency times n writes to a ConfigMap, with a pause after each, until a watch delivers them.
func (c *cluster) watchLatency(ctx context.Context, n int, pause time.Duration) ([]time.Duration, error) {
	maps := c.client.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bench"}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	w, err := maps.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=bench"})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	<-w.ResultChan() // what is there already
	var took []time.Duration
	for i := range n {
		start := time.Now()
		if _, err := maps.Patch(ctx, "bench", types.MergePatchType, fmt.Appendf(nil, `{"data":{"n":"%d"}}`, i), metav1.PatchOptions{}); err != nil {
			return nil, err
		}
		<-w.ResultChan()
		took = append(took, time.Since(start))
		time.Sleep(pause)
	}
	return took, nil
}
