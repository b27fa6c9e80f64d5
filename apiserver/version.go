package apiserver

import (
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/util/compatibility"
	basecompatibility "k8s.io/component-base/compatibility"
)

// Version is what /version shows: the Kubernetes release whose API this is. Helm and kubectl parse it.
const Version = "v1.37.2+fairlead"

// release is the default effective version of the libraries, under our own name.
type release struct {
	basecompatibility.EffectiveVersion
}

func newRelease() release { return release{compatibility.DefaultBuildEffectiveVersion()} }

// Info is what /version serves.
func (r release) Info() *version.Info {
	info := r.EffectiveVersion.Info()
	info.GitVersion = Version
	info.GitCommit = ""
	info.GitTreeState = ""
	info.BuildDate = ""
	return info
}
