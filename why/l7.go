package why

import (
	"fmt"

	"fairlead.dev/fairlead/api"
)

// engine is about the annotation that has the L7 engine serve a Service (rules P110 to P112).
func (v View) engine() []Finding {
	how, is := v.Service.Annotations[api.AnnotationL7]
	switch {
	case !is:
		return nil
	case how != api.L7HTTP && how != api.L7Gateway:
		return []Finding{{Code: "UnknownL7", Harmless: true, Sentence: fmt.Sprintf(
			"annotation %s is %q, which means nothing: connections are balanced as without it", api.AnnotationL7, how),
			Remedy: fmt.Sprintf("Write %q to have requests balanced one by one, or remove the annotation", api.L7HTTP)}}
	case api.Headless(v.Service):
		return []Finding{{Code: "L7WithoutAddress", Harmless: true, Sentence: fmt.Sprintf(
			"annotation %s has no effect on a Service without a cluster address: clients connect to its endpoints themselves", api.AnnotationL7),
			Remedy: "Give the Service a cluster address, or remove the annotation"}}
	}
	return nil
}
