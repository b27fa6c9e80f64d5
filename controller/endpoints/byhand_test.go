package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

func TestE33_EndpointsEditedOrDeletedByHandComeBack(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	settle(t, s.wire) // nothing is pending that would correct it by chance
	api := s.client.CoreV1().Endpoints(s.name)
	if err := api.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	settle(t, s.wire)
	ep, err := api.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ep.Subsets[0].Addresses[0].IP = "10.9.9.9"
	if _, err := api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	patch := []byte(`{"metadata":{"labels":{"mine":"yes"}}}`)
	if _, err := api.Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		ep, err := api.Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && ep.Labels["mine"] == ""
	}, func() string { return "the label stays" })
	s.updatePod(t, "a", sample.Unready)
	eventually(t, s.objectLines, "web", "!10.0.0.1 : http:8080/TCP")
	const rest = " by hand and is put back: it follows the selector of the Service. To write it by hand remove spec.selector"
	eventually(t, s.events, "web", "1 EndpointsRestored Endpoints web was deleted"+rest, "2 EndpointsRestored Endpoints web was changed"+rest)
}

// A finalizer keeps a slice that was deleted; the Service gets another one at once, and what comes later is written there.
func TestE68_ASliceThatCannotGoHoldsUpNothing(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	api := s.client.DiscoveryV1().EndpointSlices(s.name)
	held := s.slices(t, "web")[0].Name
	finalizers := func(list string) {
		t.Helper()
		patch := []byte(`{"metadata":{"finalizers":` + list + `}}`)
		if _, err := api.Patch(t.Context(), held, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	finalizers(`["example.com/wait"]`)
	if err := api.Delete(t.Context(), held, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	following := func() []string {
		var names []string
		for _, slice := range s.slices(t, "web") {
			for _, ep := range slice.Endpoints {
				if slice.Name != held {
					names = append(names, fmt.Sprint(ep.TargetRef.Name, *ep.Conditions.Ready))
				}
			}
		}
		return names
	}
	until(t, func() bool { return slices.Equal(following(), []string{"atrue"}) }, func() string { return fmt.Sprint(following()) })
	s.updatePod(t, "a", sample.Unready)
	until(t, func() bool { return slices.Equal(following(), []string{"afalse"}) }, func() string { return fmt.Sprint(following()) })
	finalizers("null")
	until(t, func() bool { return len(s.slices(t, "web")) == 1 && len(following()) == 1 }, func() string { return fmt.Sprint(s.sliceLines(t, "web")) })
}

func TestE67_SlicesEditedOrDeletedByHandComeBack(t *testing.T) {
	s := alone(t)
	const want = "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)"
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
	eventually(t, s.sliceLines, "web", want)
	settle(t, s.wire) // nothing is pending that would correct it by chance
	api := s.client.DiscoveryV1().EndpointSlices(s.name)
	if err := api.Delete(t.Context(), s.slices(t, "web")[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", want)
	settle(t, s.wire)
	slice := s.slices(t, "web")[0]
	slice.Endpoints = nil
	if _, err := api.Update(t.Context(), &slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", want)
	// A slice whose label is taken away is replaced by another.
	settle(t, s.wire)
	slice = s.slices(t, "web")[0]
	delete(slice.Labels, discoveryv1.LabelServiceName)
	if _, err := api.Update(t.Context(), &slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", want)
	if again := s.slices(t, "web")[0]; again.UID == slice.UID {
		t.Error("the label came back, though nothing says any more whose slice it is")
	}
}

// Slices that somebody made for the same Service are nobody else's business, whatever happens to the Service.
func TestE87_SlicesMadeByHandAreLeftAlone(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
	api := s.client.DiscoveryV1().EndpointSlices(s.name)
	versions := map[string]string{}
	for i, keeper := range []string{"", "staff", "endpoints.example.com"} {
		own := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: fmt.Sprint("mine-", i), Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.9.9.9"}}},
		}
		if keeper != "" {
			own.Labels[discoveryv1.LabelManagedBy] = keeper
		}
		own, err := api.Create(t.Context(), own, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		versions[own.Name] = own.ResourceVersion
	}
	const mine = "IPv4 -> 10.9.9.9()"
	eventually(t, s.sliceLines, "web", mine, mine, mine, "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	s.updatePod(t, "a", sample.Unready)
	eventually(t, s.sliceLines, "web", mine, mine, mine, "IPv4 http:8080/TCP -> 10.0.0.1()")
	s.updateService(t, "web", func(svc *corev1.Service) { svc.Spec.Ports[0].TargetPort = intstr.FromInt32(9090) })
	eventually(t, s.sliceLines, "web", mine, mine, mine, "IPv4 http:9090/TCP -> 10.0.0.1()")
	for name, version := range versions {
		if slice, err := api.Get(t.Context(), name, metav1.GetOptions{}); err != nil || slice.ResourceVersion != version {
			t.Errorf("%s was touched: %v, %v", name, slice, err)
		}
	}
}

func TestE34_EndpointsWrittenBeforeTheirServiceStay(t *testing.T) {
	s := alone(t)
	api := s.client.CoreV1().Endpoints(s.name)
	s.createService(t)
	eventually(t, s.objectLines, "web")
	early := sample.HandWritten(sample.Subset([]string{"10.5.0.1"}, 80))
	early.ObjectMeta = metav1.ObjectMeta{Name: "early"}
	if _, err := api.Create(t.Context(), early, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The correction of a later edit is the sign that the loop has looked at what came before.
	edited, err := api.Get(t.Context(), "web", metav1.GetOptions{})
	if err == nil {
		edited.Subsets = early.Subsets
		_, err = api.Update(t.Context(), edited, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web")
	eventually(t, s.objectLines, "early", "10.5.0.1 : p80:80/TCP")
	s.createService(t, func(svc *corev1.Service) { svc.Name, svc.Spec.Selector = "early", nil })
	eventually(t, s.sliceLines, "early", "IPv4 p80:80/TCP -> 10.5.0.1(ready)")
}

func TestE1_WithoutSelectorNothingIsTouched(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	s.createService(t, func(svc *corev1.Service) { svc.Name, svc.Spec.Selector = "never", nil })
	s.updateService(t, "web", func(svc *corev1.Service) { svc.Spec.Selector = nil })
	s.deletePods(t, "a")
	// The Service that follows the pod is the sign that the deletion has been seen.
	s.createService(t, func(svc *corev1.Service) { svc.Name = "later" })
	eventually(t, s.objectLines, "later")
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	eventually(t, s.objectLines, "never", "none")
	eventually(t, s.sliceLines, "never")
	until(t, func() bool { // the mirror of the object that was left, beside the slice that was left
		return slices.Equal(s.sliceLines(t, "web"), []string{"IPv4 http:8080/TCP -> 10.0.0.1(ready)", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)"})
	}, func() string { return fmt.Sprint(s.sliceLines(t, "web")) })
}

func TestE107_MirrorsFollowTheirEndpoints(t *testing.T) {
	s := alone(t)
	api := s.client.CoreV1().Endpoints(s.name)
	s.createService(t, func(svc *corev1.Service) { svc.Spec.Selector = nil })
	ep := sample.HandWritten(sample.Subset([]string{"10.5.0.1", "!10.5.0.2"}, 2379))
	ep.ObjectMeta = metav1.ObjectMeta{Name: "web"}
	ep, err := api.Create(t.Context(), ep, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready) 10.5.0.2()")

	ep.Subsets[0] = sample.Subset([]string{"10.5.0.1", "10.5.0.2", "10.5.0.3"}, 2379)
	if ep, err = api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready) 10.5.0.2(ready) 10.5.0.3(ready)")

	slice := s.slices(t, "web")[0]
	if err := s.client.DiscoveryV1().EndpointSlices(s.name).Delete(t.Context(), slice.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { list := s.slices(t, "web"); return len(list) == 1 && list[0].UID != slice.UID }, func() string { return "not mirrored again" })

	ep.Labels = map[string]string{discoveryv1.LabelSkipMirror: "true"}
	if ep, err = api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web")
	ep.Labels = nil
	if _, err = api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready) 10.5.0.2(ready) 10.5.0.3(ready)")
	if err := api.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web")
}

func TestE108_ASelectorTakesOver(t *testing.T) {
	s := alone(t)
	s.createService(t, func(svc *corev1.Service) { svc.Spec.Selector = nil })
	ep := sample.HandWritten(sample.Subset([]string{"10.5.0.1"}, 2379))
	ep.ObjectMeta = metav1.ObjectMeta{Name: "web"}
	if _, err := s.client.CoreV1().Endpoints(s.name).Create(t.Context(), ep, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready)")
	s.updateService(t, "web", func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "web"} })
	eventually(t, s.sliceLines, "web", "IPv4 ->") // the mirror is gone, the selector's placeholder is there
	eventually(t, s.objectLines, "web")
}
