package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"fairlead.dev/fairlead/node/image"
)

// conformanceModule is the module of the conformance suite of Gateway API.
const conformanceModule = "test/conformance/gateway"

// bakeConformance writes the images that the conformance suite of Gateway API wants to run, under its names: its own echo server,
// built from its module, and something that answers where it has a name server. It needs no package.
func bakeConformance(ctx context.Context, out, _ string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	echo, err := buildIn(ctx, conformanceModule, "sigs.k8s.io/gateway-api/conformance/echo-basic")
	if err != nil {
		return err
	}
	resolver, err := buildIn(ctx, conformanceModule, "./resolver")
	if err != nil {
		return err
	}
	var echoes []string
	for _, version := range []string{"v1.5.1", "v1.6.0-dev.2", "v1.6.0-dev.3"} {
		echoes = append(echoes, "registry.k8s.io/gateway-api/echo-basic:"+version)
	}
	return write(out, []archive{
		{"echo-basic.tar", image.Spec{Refs: echoes, Rootfs: program("echo-basic", echo), Entrypoint: []string{"/echo-basic"}}},
		{"coredns.tar", image.Spec{Refs: []string{"registry.k8s.io/coredns/coredns:v1.12.2"}, Rootfs: program("resolver", resolver), Entrypoint: []string{"/resolver"}}},
	})
}

func program(name string, data []byte) []image.File {
	return []image.File{{Path: name, Mode: 0o755, Data: data}}
}

// buildIn compiles a static program in a module.
func buildIn(ctx context.Context, module, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "fairlead-bake-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	to := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return os.ReadFile(to)
}
