// Package pulls decides with which credentials images are pulled, and whether a pod may have an image that is there already: one that
// was pulled with somebody's credentials only by showing such itself (kubelet's KubeletEnsureSecretPulledImages with the policy
// NeverVerifyPreloadedImages, both upstream's defaults). What lies in secrets, and which of it is for an image, is read by upstream's
// own keyring.
package pulls

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubernetes/pkg/credentialprovider"
	keyrings "k8s.io/kubernetes/pkg/credentialprovider/secrets"

	"github.com/distribution/reference"

	"fairlead.dev/fairlead/node/registry"
)

// Candidate is one way to ask for an image.
type Candidate struct {
	Auth   *runtimeapi.AuthConfig // nil: as anybody
	Secret *Secret                // where that is from; nil: it is the node's own, or nobody's
}

// Secret is where credentials are from, and their digest.
type Secret struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Hash      string `json:"hash"`
}

// Candidates are the ways to ask for an image, in the order in which they are tried: what the pod's secrets have for its registry (whose
// URL is server), then what the node has of its own; where there is neither, without credentials. Each is shown to one server only.
func Candidates(image, server string, pulling []corev1.Secret, own []registry.Credential) ([]Candidate, error) {
	repository, err := repositoryOf(image)
	if err != nil {
		return nil, err
	}
	ring, err := keyrings.MakeDockerKeyring(pulling, nil)
	if err != nil {
		return nil, fmt.Errorf("image pull secrets: %w", err)
	}
	var all []Candidate
	if union, ok := ring.(credentialprovider.UnionDockerKeyring); ok { // the last one is that of the node, of which nothing is known there
		found, _ := union[0].Lookup(repository)
		for _, f := range found {
			c := Candidate{Auth: &runtimeapi.AuthConfig{
				Username: f.Username, Password: f.Password, Auth: f.Auth, ServerAddress: server, IdentityToken: f.IdentityToken, RegistryToken: f.RegistryToken,
			}}
			if f.Source != nil && f.Source.Secret != nil {
				s := f.Source.Secret
				c.Secret = &Secret{UID: s.UID, Namespace: s.Namespace, Name: s.Name, Hash: f.AuthConfigHash}
			}
			all = append(all, c)
		}
	}
	for _, o := range own {
		all = append(all, Candidate{Auth: &runtimeapi.AuthConfig{Username: o.Username, Password: o.Password, ServerAddress: o.Server}})
	}
	if len(all) == 0 {
		all = []Candidate{{}}
	}
	return all, nil
}

// repositoryOf is an image's full name without tag and digest.
func repositoryOf(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	return named.Name(), nil
}

// Joined is the error of several tries as upstream's aggregate has it: each text once.
func Joined(texts []string) string {
	var once []string
	seen := map[string]bool{}
	for _, t := range texts {
		if !seen[t] {
			seen[t] = true
			once = append(once, t)
		}
	}
	if len(once) == 1 {
		return once[0]
	}
	return "[" + strings.Join(once, ", ") + "]"
}
