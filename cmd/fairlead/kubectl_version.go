package main

import (
	"fmt"
	_ "unsafe" // for go:linkname

	utilversion "k8s.io/apimachinery/pkg/util/version"
	kubectllib "k8s.io/component-base/version"

	"fairlead.dev/fairlead/apiserver"
)

// What kubectl says of itself. The library keeps it in variables that the release's build sets through the linker, and
// leaves a text that is no version where nobody did: 'kubectl version' then fails.
//
//go:linkname kubectlVersion k8s.io/component-base/version.gitVersion
var kubectlVersion string

//go:linkname kubectlMajor k8s.io/component-base/version.gitMajor
var kubectlMajor string

//go:linkname kubectlMinor k8s.io/component-base/version.gitMinor
var kubectlMinor string

//go:linkname kubectlCommit k8s.io/component-base/version.gitCommit
var kubectlCommit string

// nameKubectl gives the built-in kubectl the version of the release it is from.
func nameKubectl() error {
	release, err := utilversion.ParseSemantic(apiserver.Version)
	if err != nil {
		return err
	}
	kubectlVersion, kubectlCommit = apiserver.Version, ""
	kubectlMajor, kubectlMinor = fmt.Sprint(release.Major()), fmt.Sprint(release.Minor())
	return kubectllib.SetDynamicVersion(kubectlVersion)
}
