// Package definitions has the CustomResourceDefinitions of Gateway API, and
// installs them: where there are none, or older ones that it has installed
// before. Those of others, and newer ones, are left alone.
//
// standard.json.gz is made from sigs.k8s.io/gateway-api, config/crd/standard, by
// go generate: a definition a line, each with the annotation
// fairlead.dev/installed. It is The Kubernetes Authors', under the
// Apache License 2.0, whose text is LICENSE beside it.
package definitions

//go:generate go run ./generate
