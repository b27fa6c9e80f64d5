package openapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Others are the groups that other servers answer for, such as "apis/metrics.k8s.io/v1beta1".
type Others interface {
	// Schemas says where the document of each group is, below /openapi/v3; another place is another content. It asks nobody.
	Schemas() map[string]string
	// Schema answers for the document of a group.
	Schema(group string, w http.ResponseWriter, r *http.Request)
	// Swagger is what the server of a group says of itself in version 2.
	Swagger(ctx context.Context, group string) (*spec.Swagger, error)
}

// markOfOthers identifies the content of what others serve; "" where there are none.
func (d *Documents) markOfOthers() string {
	all := d.others.Schemas()
	var b strings.Builder
	for _, group := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\n%s %s", group, all[group])
	}
	return b.String()
}

// mergeOthers adds the groups of others to the document of version 2, each as far as it is asked for here. One that cannot be had is left out.
func (d *Documents) mergeOthers(ctx context.Context, own *spec.Swagger) error {
	for _, group := range slices.Sorted(maps.Keys(d.others.Schemas())) {
		theirs, err := d.others.Swagger(ctx, group)
		if err != nil {
			continue
		}
		theirs = aggregator.FilterSpecByPathsWithoutSideEffects(theirs, []string{"/" + group + "/"})
		if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(own, theirs); err != nil {
			return fmt.Errorf("openapi: build v2 with %s: %w", group, err)
		}
	}
	return nil
}
