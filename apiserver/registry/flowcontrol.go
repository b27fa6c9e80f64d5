package registry

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/flowcontrol"
	convert "k8s.io/kubernetes/pkg/apis/flowcontrol/v1"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
)

// flowControl are the kinds that say whose requests wait for whose.
func (b *builder) flowControl() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, flowSchemas()))
	put(resources, build(b, priorityLevels()))
	return resources
}

func flowSchemas() *kind[*flowcontrolv1.FlowSchema] {
	return adopt(foreign[*flowcontrolv1.FlowSchema, *flowcontrol.FlowSchema]{
		strategy: flowschema.Strategy, status: flowschema.StatusStrategy,
		in: convert.Convert_v1_FlowSchema_To_flowcontrol_FlowSchema, out: convert.Convert_flowcontrol_FlowSchema_To_v1_FlowSchema,
	}, kind[*flowcontrolv1.FlowSchema]{
		group: flowcontrolv1.GroupName, plural: "flowschemas", singular: "flowschema",
		list: func() runtime.Object { return &flowcontrolv1.FlowSchemaList{} },
	})
}

func priorityLevels() *kind[*flowcontrolv1.PriorityLevelConfiguration] {
	return adopt(foreign[*flowcontrolv1.PriorityLevelConfiguration, *flowcontrol.PriorityLevelConfiguration]{
		strategy: prioritylevelconfiguration.Strategy, status: prioritylevelconfiguration.StatusStrategy,
		in:  convert.Convert_v1_PriorityLevelConfiguration_To_flowcontrol_PriorityLevelConfiguration,
		out: convert.Convert_flowcontrol_PriorityLevelConfiguration_To_v1_PriorityLevelConfiguration,
	}, kind[*flowcontrolv1.PriorityLevelConfiguration]{
		group: flowcontrolv1.GroupName, plural: "prioritylevelconfigurations", singular: "prioritylevelconfiguration",
		list: func() runtime.Object { return &flowcontrolv1.PriorityLevelConfigurationList{} },
	})
}
