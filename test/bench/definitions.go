package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	common "fairlead.dev/fairlead/internal/definitions"
)

const (
	// untouched is how long a cluster is left alone before its memory is looked at.
	untouched = 30 * time.Second
	// definitionsMemory is how much more the program may take at rest for the common definitions, in MB.
	definitionsMemory = 150
)

// definitions measures what the definitions of custom resources that clusters commonly hold cost a cluster at rest.
func (c *cluster) definitions(ctx context.Context, _ int) ([]row, error) {
	before := c.memoryAtRest(ctx)
	all := common.Common()
	text := bytes.Join(all, []byte("\n---\n"))
	file := filepath.Join(c.dir, "definitions.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(c.dir, "admin.kubeconfig")
	began := time.Now()
	if err := c.run(ctx, "kubectl", "--kubeconfig", kubeconfig, "create", "-f", file); err != nil {
		return nil, err
	}
	took := time.Since(began)
	more := c.memoryAtRest(ctx) - before
	err := c.run(ctx, "kubectl", "--kubeconfig", kubeconfig, "delete", "-f", file)
	return []row{{
		fmt.Sprintf("memory (RSS) of the program for %d custom resource definitions of %d MB", len(all), len(text)>>20), fmt.Sprintf("%d MB more", more),
		fmt.Sprintf("%d MB without them; installed in %s", before, brief(took)), held(fmt.Sprintf("<= %d MB more", definitionsMemory), more <= definitionsMemory),
	}}, err
}

// memoryAtRest is the resident memory of the program, in MB, when nothing has been asked of it for a while.
func (c *cluster) memoryAtRest(ctx context.Context) int {
	select {
	case <-ctx.Done():
	case <-time.After(untouched):
	}
	sum := 0
	for _, p := range c.processes() {
		if p.kind == "fairlead" {
			sum += p.rss >> 20
		}
	}
	return sum
}
