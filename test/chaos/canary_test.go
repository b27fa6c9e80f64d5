package chaos

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// canary is a Deployment with a Service. As long as it follows its pods, everything on the way from a pod to a packet works:
// controllers, agents, containers, rules.
type canary struct {
	*run
	url string
}

const replicas = 2

const nest = `
metadata: {name: canary}
spec:
  replicas: 2
  selector: {matchLabels: {app: canary}}
  template:
    metadata: {labels: {app: canary}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: demoapp
        image: ikubernetes/demoapp:v1.0
        readinessProbe: {httpGet: {path: /readyz, port: 80}, periodSeconds: 1}
`

// newCanary starts it and waits until it is heard.
func newCanary(r *run) *canary {
	r.t.Helper()
	ctx := r.t.Context()
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(nest), &d); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.typed.AppsV1().Deployments("default").Create(ctx, &d, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "canary"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "canary"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	s, err := r.typed.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	c := &canary{run: r, url: "http://" + s.Spec.ClusterIP + "/"}
	c.heard(nil)
	return c
}

// answerer is the pod in demoapp's answer.
var answerer = regexp.MustCompile(`ServerName: (canary-\S+),`)

// sings deletes the canary's pods and waits until others answer in their place on every node.
func (c *canary) sings() {
	c.t.Helper()
	old := map[string]bool{}
	c.eventually("the canary's pods are deleted", func() error {
		list, err := c.typed.CoreV1().Pods("default").List(c.t.Context(), metav1.ListOptions{LabelSelector: "app=canary"})
		if err != nil {
			return err
		}
		for _, p := range list.Items {
			old[p.Name] = true
		}
		return c.typed.CoreV1().Pods("default").DeleteCollection(c.t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=canary"})
	})
	c.heard(old)
}

// heard waits until as many pods as there should be answer on every node, none of which is old.
func (c *canary) heard(old map[string]bool) {
	c.t.Helper()
	for _, node := range []string{"node1", "node2"} {
		c.eventually("the canary is heard on "+node, func() error {
			answers := map[string]bool{}
			for range 20 {
				body, err := c.cluster.ask(node, c.url)
				if err != nil {
					return err
				}
				m := answerer.FindStringSubmatch(body)
				if m == nil {
					return fmt.Errorf("somebody else answers: %q", body)
				}
				if old[m[1]] {
					return errors.New(m[1] + ", which was deleted, answers")
				}
				answers[m[1]] = true
			}
			if len(answers) != replicas {
				return fmt.Errorf("%d pods answer: %s", len(answers), strings.Join(names(answers), ", "))
			}
			return nil
		})
	}
}

func names(set map[string]bool) []string {
	var all []string
	for name := range set {
		all = append(all, name)
	}
	return all
}
