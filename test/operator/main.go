// Command operator is an operator as people write them with controller-runtime: for every Greeting of its namespace it keeps a ConfigMap
// of the same name with the Greeting's text. It runs in a pod and finds the API, and who it is there, as client-go does in every pod;
// what it may do is what roles grant its service account. Of several, the one that holds the Lease works.
package main

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	ctrl.SetLogger(zap.New())
	if err := run(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := addKinds(scheme); err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{os.Getenv("NAMESPACE"): {}}},
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                true,
		LeaderElectionID:              "greeter",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	greeter := &greeter{Client: manager.GetClient(), events: manager.GetEventRecorder("greeter")}
	if err := ctrl.NewControllerManagedBy(manager).For(&Greeting{}).Owns(&corev1.ConfigMap{}).Complete(greeter); err != nil {
		return err
	}
	fmt.Println("operator: the API server is at", config.Host)
	return manager.Start(ctx)
}

// greeter keeps the ConfigMaps of Greetings.
type greeter struct {
	client.Client
	events events.EventRecorder
}

// Reconcile makes the ConfigMap of a Greeting what the Greeting says. That of a Greeting that is gone goes with its owner.
func (g *greeter) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var greeting Greeting
	if err := g.Get(ctx, request.NamespacedName, &greeting); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	text := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: greeting.Namespace, Name: greeting.Name}}
	did, err := ctrl.CreateOrUpdate(ctx, g, &text, func() error {
		text.Data = map[string]string{"text": greeting.Spec.Text}
		return ctrl.SetControllerReference(&greeting, &text, g.Scheme())
	})
	if err != nil || greeting.Status.Observed == greeting.Spec.Text {
		return ctrl.Result{}, err
	}
	g.events.Eventf(&greeting, &text, corev1.EventTypeNormal, "Greeted", "Greet", "ConfigMap %s %s", text.Name, did)
	greeting.Status.Observed = greeting.Spec.Text
	return ctrl.Result{}, g.Status().Update(ctx, &greeting)
}
