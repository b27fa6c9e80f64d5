package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// First waits until there is an object of one of some kinds: a controller that nobody needs yet watches nothing. It returns when its
// context ends, too, which is no error.
type First func(ctx context.Context, any ...schema.GroupResource) error
