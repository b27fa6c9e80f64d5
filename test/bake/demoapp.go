package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"fairlead.dev/fairlead/node/image"
)

// buildDemoapp compiles the demo web server as one static program.
func buildDemoapp(ctx context.Context, p pantry) ([]byte, error) {
	program := filepath.Join(p.dir, "demoapp")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "fairlead.dev/fairlead/test/demoapp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build demoapp: %w: %s", err, out)
	}
	return os.ReadFile(program)
}

// demoappImage is the demo web server with a shell; it calls itself version.
func demoappImage(p pantry, program []byte, version string) image.Spec {
	return image.Spec{
		Refs:       []string{"docker.io/ikubernetes/demoapp:" + version},
		Rootfs:     append(slices.Clone(p.shell), image.File{Path: "usr/bin/demoapp", Mode: 0o755, Data: program}),
		Entrypoint: []string{"/usr/bin/demoapp"},
		Env:        []string{"VERSION=" + version},
		Ports:      []string{"80/tcp"},
	}
}
