// Command bake builds the container images of the demonstrations and tests as
// archives, one file each, from this repository and the distribution's own
// packages: no registry, no container engine.
//
//	go run ./test/bake -o build/images
//
// Downloaded packages stay in the -cache directory; without network it bakes
// from there.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/test/bake/debian"
)

func main() {
	out := flag.String("o", "build/images", "directory for the archives")
	cache := flag.String("cache", "build/packages", "directory for downloaded packages")
	conformance := flag.Bool("conformance", false, "bake the images of the conformance suite of Gateway API instead")
	suite := flag.Bool("suite", false, "bake images for Kubernetes' end-to-end suite instead, under the names given as arguments")
	operator := flag.Bool("operator", false, "bake the image of the operator of the demonstrations instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	do := bake
	switch {
	case *conformance:
		do = bakeConformance
	case *operator:
		do = bakeOperator
	case *suite:
		do = bakeSuite(flag.Args())
	}
	if err := do(ctx, *out, *cache); err != nil {
		fmt.Fprintln(os.Stderr, "bake:", err)
		os.Exit(1)
	}
}

// bake writes every image into out and prints a line for each.
func bake(ctx context.Context, out, cache string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	pantry, err := stock(ctx, cache)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(pantry.dir) }()
	demoapp, err := buildDemoapp(ctx, pantry)
	if err != nil {
		return err
	}
	nginx, err := nginxImage(pantry)
	if err != nil {
		return err
	}
	return write(out, []archive{
		{"busybox.tar", busyboxImage(pantry)},
		{"demoapp.tar", demoappImage(pantry, demoapp, "v1.0")},
		{"demoapp-v1.1.tar", demoappImage(pantry, demoapp, "v1.1")},
		{"nginx.tar", nginx},
	})
}

// archive is a file with an image.
type archive struct {
	name string
	spec image.Spec
}

// write writes images into out and prints a line for each.
func write(out string, all []archive) error {
	for _, a := range all {
		var buf bytes.Buffer
		if err := image.Build(&buf, a.spec); err != nil {
			return err
		}
		path := filepath.Join(out, a.name)
		if err := replace(path, buf.Bytes()); err != nil {
			return err
		}
		fmt.Printf("%-38s %5.1f MB  %s\n", path, float64(buf.Len())/1e6, strings.Join(a.spec.Refs, " "))
	}
	return nil
}

// replace puts data into the file name, whole or not at all.
func replace(name string, data []byte) error {
	if err := os.WriteFile(name+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// pantry holds the unpacked packages and what every image with a shell takes from them.
type pantry struct {
	dir   string       // the unpacked packages; removed after baking
	shell []image.File // busybox and its links
}

// stock fetches and unpacks the packages that the images are made of.
func stock(ctx context.Context, cache string) (pantry, error) {
	libs, err := debian.Libraries(ctx, "nginx")
	if err != nil {
		return pantry{}, err
	}
	debs, err := debian.Fetch(ctx, cache, append([]string{"nginx", "nginx-common", "busybox-static"}, libs...)...)
	if err != nil {
		return pantry{}, err
	}
	dir, err := os.MkdirTemp("", "fairlead-bake-")
	if err != nil {
		return pantry{}, err
	}
	p := pantry{dir: dir}
	if err := debian.Unpack(ctx, dir, debs...); err != nil {
		_ = os.RemoveAll(dir)
		return pantry{}, err
	}
	if p.shell, err = busyboxFiles(ctx, dir); err != nil {
		_ = os.RemoveAll(dir)
		return pantry{}, err
	}
	return p, nil
}
