package main

import (
	"context"
	"os"

	"fairlead.dev/fairlead/node/image"
)

// operatorModule is the module of the operator that the demonstrations run.
const operatorModule = "test/operator"

// bakeOperator writes the image of the operator, the program and nothing else. It is apart from the others because it takes a while to
// build and only one demonstration runs it. It needs no package.
func bakeOperator(ctx context.Context, out, _ string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	operator, err := buildIn(ctx, operatorModule, ".")
	if err != nil {
		return err
	}
	return write(out, []archive{
		{"greeter.tar", image.Spec{Refs: []string{"docker.io/library/greeter:v1"}, Rootfs: program("greeter", operator), Entrypoint: []string{"/greeter"}}},
	})
}
