package registry_test

import (
	"strings"
	"testing"
)

func TestStorageKinds(t *testing.T) {
	s := start(t)
	for _, is := range []struct{ manifest, resource, columns, row string }{
		{"kind: StorageClass, metadata: {name: fast, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: example.com/disk}", "sc/fast", "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE", "fast (default) example.com/disk Delete Immediate false *"},
		{"kind: CSIDriver, metadata: {name: disk.example.com}, spec: {podInfoOnMount: true}}", "csidrivers", "NAME ATTACHREQUIRED PODINFOONMOUNT STORAGECAPACITY TOKENREQUESTS REQUIRESREPUBLISH MODES AGE", "disk.example.com true true false <unset> false Persistent *"},
		{"kind: CSINode, metadata: {name: n1}, spec: {drivers: [{name: disk.example.com, nodeID: a, topologyKeys: [zone]}]}}", "csinodes", "NAME DRIVERS AGE", "n1 1 *"},
		{"kind: CSIStorageCapacity, metadata: {name: c1, namespace: default}, storageClassName: fast, capacity: 1Gi}", "csistoragecapacities", "NAME STORAGECLASSNAME CAPACITY", "c1 fast 1Gi"},
		{"kind: VolumeAttachment, metadata: {name: a1}, spec: {attacher: disk.example.com, nodeName: n1, source: {persistentVolumeName: v1}}}", "volumeattachments", "NAME ATTACHER PV NODE ATTACHED AGE", "a1 disk.example.com v1 n1 false *"},
		{"kind: VolumeAttributesClass, metadata: {name: gold}, driverName: disk.example.com, parameters: {iops: '9000'}}", "vac", "NAME DRIVERNAME AGE", "gold disk.example.com *"},
	} {
		s.must(t, "{apiVersion: storage.k8s.io/v1, "+is.manifest, "create", "-f", "-")
		columns(t, s.must(t, "", "get", is.resource), is.columns, is.row)
	}
	for manifest, want := range map[string]string{
		"kind: StorageClass, metadata: {name: x}}":                                                      "provisioner: Required value",
		"kind: StorageClass, metadata: {name: x}, provisioner: a, reclaimPolicy: Sometimes}":            "Unsupported value: \"Sometimes\"",
		"kind: VolumeAttachment, metadata: {name: x}, spec: {attacher: a, nodeName: node, source: {}}}": "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
		"kind: CSINode, metadata: {name: x}, spec: {drivers: [{name: a, nodeID: ''}]}}":                 "nodeID: Required value",
	} {
		if stderr := s.refused(t, "{apiVersion: storage.k8s.io/v1, "+manifest, "create", "-f", "-"); !strings.Contains(stderr, want) {
			t.Errorf("%s: %s", manifest, stderr)
		}
	}
	if stderr := s.refused(t, "", "patch", "sc", "fast", "-p", `{"provisioner":"other"}`); !strings.Contains(stderr, "provisioner: Invalid value: null: field is immutable") {
		t.Error(stderr)
	}
	s.must(t, "", "patch", "volumeattachment", "a1", "--subresource=status", "--type=merge", "-p", `{"status":{"attached":true}}`)
	columns(t, s.must(t, "", "get", "volumeattachments"), "NAME ATTACHER PV NODE ATTACHED AGE", "a1 disk.example.com v1 n1 true *")
}
