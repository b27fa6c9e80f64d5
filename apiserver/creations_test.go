package apiserver_test

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// However the first object of a kind is made, who waits for it is told: by a POST, by an applied patch, or by a PUT.
func TestAwaitFirst(t *testing.T) {
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	for _, way := range []struct {
		name string
		of   schema.GroupResource
		make func(context.Context) error
	}{
		{"POST", schema.GroupResource{Group: "apps", Resource: "controllerrevisions"}, func(ctx context.Context) error {
			_, err := client.AppsV1().ControllerRevisions("default").Create(ctx, &appsv1.ControllerRevision{
				ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: runtime.RawExtension{Raw: []byte("{}")}}, metav1.CreateOptions{})
			return err
		}},
		{"apply", schema.GroupResource{Resource: "podtemplates"}, func(ctx context.Context) error {
			_, err := client.CoreV1().PodTemplates("default").Patch(ctx, "a", types.ApplyPatchType,
				[]byte(`{"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"}, "template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}`), metav1.PatchOptions{FieldManager: "test"})
			return err
		}},
		{"PUT", schema.GroupResource{Resource: "limitranges"}, func(ctx context.Context) error {
			return client.CoreV1().RESTClient().Put().Namespace("default").Resource("limitranges").Name("a").
				Body([]byte(`{"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "a"}, "spec": {"limits": []}}`)).Do(ctx).Error()
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			told := make(chan error, 1)
			waiting, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { told <- server.AwaitFirst(waiting, way.of) }()
			if empty, err := server.Unused(t.Context(), way.of); err != nil || !empty {
				t.Fatal(empty, err)
			}
			if err := way.make(t.Context()); err != nil {
				t.Fatal(err)
			}
			apitest.Eventually(t, func() string {
				select {
				case err := <-told:
					if err != nil {
						t.Error(err)
					}
					return ""
				default:
					return "not told"
				}
			})
		})
	}
}

// Of several kinds one with an object is enough, however few the others have.
func TestAwaitFirstOfSeveral(t *testing.T) {
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	pods, namespaces := schema.GroupResource{Resource: "pods"}, schema.GroupResource{Resource: "namespaces"}
	for _, kinds := range [][]schema.GroupResource{{pods, namespaces}, {namespaces, pods}} {
		if err := server.AwaitFirst(t.Context(), kinds...); err != nil {
			t.Errorf("%v: %v", kinds, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.AwaitFirst(ended, pods, namespaces); err != nil {
		t.Errorf("that the context has ended is an error: %v", err)
	}
}
