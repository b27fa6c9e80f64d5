package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var version = schema.GroupVersion{Group: "demo.example.com", Version: "v1"}

// Greeting asks for a ConfigMap of its name with its text.
type Greeting struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              GreetingSpec   `json:"spec"`
	Status            GreetingStatus `json:"status,omitzero"`
}

// GreetingSpec is what a person asks for.
type GreetingSpec struct {
	Text string `json:"text"`
}

// GreetingStatus is what the operator has done.
type GreetingStatus struct {
	Observed string `json:"observed,omitempty"` // the text that the ConfigMap has
}

// GreetingList is how the API lists them.
type GreetingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Greeting `json:"items"`
}

// DeepCopyObject copies the Greeting.
func (g *Greeting) DeepCopyObject() runtime.Object {
	out := *g
	g.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// DeepCopyObject copies the list.
func (l *GreetingList) DeepCopyObject() runtime.Object {
	out := *l
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = make([]Greeting, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Greeting)
	}
	return &out
}

// addKinds makes the kinds known to a scheme.
func addKinds(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(version, &Greeting{}, &GreetingList{})
	metav1.AddToGroupVersion(scheme, version)
	return nil
}
