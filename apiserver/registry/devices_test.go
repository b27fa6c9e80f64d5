package registry_test

import (
	"strings"
	"testing"
)

// TestDevices: the kinds of resource.k8s.io are kept under upstream's rules; who may reach all devices is said by the namespace.
func TestDevices(t *testing.T) {
	s := start(t)
	const request = "{devices: {requests: [{name: r, exactly: {deviceClassName: c}}]}}"
	for _, manifest := range []string{
		`{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: c}, spec: {selectors: [{cel: {expression: "device.driver == 'd.example.com'"}}]}}`,
		"{apiVersion: resource.k8s.io/v1, kind: DeviceTaintRule, metadata: {name: t}, spec: {deviceSelector: {driver: d.example.com}, taint: {key: example.com/a, value: b, effect: NoSchedule}}}",
		"{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: c, namespace: default}, spec: " + request + "}",
		"{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: c, namespace: default}, spec: {spec: " + request + "}}",
		"{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: s}, spec: {driver: d.example.com, nodeName: n1, pool: {name: n1, generation: 1, resourceSliceCount: 1}, devices: [{name: d0}]}}",
	} {
		s.must(t, manifest, "create", "-f", "-")
	}
	columns(t, s.must(t, "", "get", "resourceclaims"), "NAME STATE AGE", "c pending *")
	columns(t, s.must(t, "", "get", "resourceslices", "--field-selector", "spec.nodeName=n1"), "NAME NODE DRIVER POOL AGE", "s n1 d.example.com n1 *")
	if got := s.must(t, "", "get", "resourceslices", "--field-selector", "spec.nodeName=n2", "-o", "name"); got != "" {
		t.Error(got)
	}
	for manifest, want := range map[string]string{
		"{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: a, namespace: default}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: c, adminAccess: true}}]}}}": "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label",
		`{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: d}, spec: {selectors: [{cel: {expression: "device.driver"}}]}}`:                                                        "must evaluate to bool",
		"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {resourceClaims: [{name: c, resourceClaimName: c}], containers: [{name: a, image: x}]}}":                                             "dynamic resource allocation is not supported",
	} {
		if got := s.refused(t, manifest, "create", "-f", "-"); !strings.Contains(got, want) {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	s.must(t, "", "label", "namespace", "default", "resource.kubernetes.io/admin-access=true")
	s.must(t, "{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: a, namespace: default}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: c, adminAccess: true}}]}}}", "create", "-f", "-")
}

// TestMigrations: one names a resource, once and for all.
func TestMigrations(t *testing.T) {
	s := start(t)
	const manifest = "{apiVersion: storagemigration.k8s.io/v1, kind: StorageVersionMigration, metadata: {name: m}, spec: {resource: {group: apps, resource: deployments}}}"
	s.must(t, manifest, "create", "-f", "-")
	columns(t, s.must(t, "", "get", "storageversionmigrations"), "NAME RESOURCE STATUS", "m deployments.apps Unknown")
	if got := s.refused(t, "", "patch", "storageversionmigration", "m", "--type", "merge", "-p", `{"spec":{"resource":{"resource":"pods"}}}`); !strings.Contains(got, "immutable") {
		t.Error(got)
	}
}
