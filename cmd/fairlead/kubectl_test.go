package main

import (
	"encoding/json"
	"strings"
	"testing"

	apiversion "k8s.io/apimachinery/pkg/version"

	"fairlead.dev/fairlead/apiserver"
)

// The built-in kubectl says which release it is from, however the program was built, and compares itself with the server.
func TestKubectlVersion(t *testing.T) {
	f := newFar(t)
	f.open()
	out, err := f.start("kubectl", "version", "--kubeconfig", f.kubeconfig).end()
	if err != nil || !strings.Contains(out, "Client Version: "+apiserver.Version+"\n") || !strings.Contains(out, "Server Version: "+apiserver.Version+"\n") || strings.Contains(out, "Warning") {
		t.Errorf("%v: %s", err, out)
	}
	var both struct{ ClientVersion, ServerVersion apiversion.Info }
	out, err = f.start("kubectl", "version", "--kubeconfig", f.kubeconfig, "-o", "json").end()
	if err != nil || json.Unmarshal([]byte(out), &both) != nil || both.ClientVersion.Major != "1" || both.ClientVersion.Minor != both.ServerVersion.Minor {
		t.Errorf("%v: %s", err, out)
	}
}
