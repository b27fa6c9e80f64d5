package main

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/test/bake/debian"
)

// suiteModule is the module of Kubernetes' end-to-end suite.
const suiteModule = "test/conformance/kubernetes"

// bakeSuite writes images for Kubernetes' end-to-end suite under the names that it lists: its own programs, built from its module, on a
// shell where they need one; the server of an API group of its own, with the store behind it; and the distribution's programs for those
// that it takes from elsewhere. Nothing is built that is not named, and the names of what cannot be had are left out.
func bakeSuite(names []string) func(ctx context.Context, out, cache string) error {
	return func(ctx context.Context, out, cache string) error {
		if err := os.MkdirAll(out, 0o755); err != nil {
			return err
		}
		p, err := stock(ctx, cache)
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(p.dir) }()
		var all []archive
		for kind, make := range suiteImages(ctx, cache, p) {
			refs := named(names, kind)
			if len(refs) == 0 {
				continue
			}
			spec, err := make()
			if err != nil {
				return err
			}
			spec.Refs = refs
			all = append(all, archive{kind + ".tar", spec})
		}
		return write(out, all)
	}
}

// suiteImages makes each kind of image.
func suiteImages(ctx context.Context, cache string, p pantry) map[string]func() (image.Spec, error) {
	// of is an image with a program of a module in it, which it runs.
	of := func(module, pkg, at string, mode fs.FileMode, spec image.Spec) (image.Spec, error) {
		data, err := buildIn(ctx, module, pkg)
		spec.Rootfs = append(spec.Rootfs, image.File{Path: at, Mode: mode | 0o755, Data: data})
		return spec, err
	}
	const images = "k8s.io/kubernetes/test/images/"
	return map[string]func() (image.Spec, error){
		"agnhost": func() (image.Spec, error) {
			curl, err := curlFiles(ctx, cache, p)
			if err != nil {
				return image.Spec{}, err
			}
			return of(suiteModule, images+"agnhost", "agnhost", 0, agnhostImage(p, curl))
		},
		"pause": func() (image.Spec, error) {
			return of(suiteModule, images+"agnhost", "agnhost", 0, image.Spec{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}})
		},
		"nonewprivs": func() (image.Spec, error) {
			return of(suiteModule, images+"nonewprivs", "usr/local/bin/nnp", fs.ModeSetuid, image.Spec{Cmd: []string{"/usr/local/bin/nnp"}})
		},
		"sample-apiserver": func() (image.Spec, error) {
			return of(suiteModule, "k8s.io/sample-apiserver", "sample-apiserver", 0, image.Spec{Entrypoint: []string{"/sample-apiserver"}})
		},
		"etcd": func() (image.Spec, error) {
			return of(".", "go.etcd.io/etcd/server/v3", "usr/local/bin/etcd", 0, image.Spec{Entrypoint: []string{"/usr/local/bin/etcd"}})
		},
		"nginx":   func() (image.Spec, error) { return nginxImage(p) },
		"busybox": func() (image.Spec, error) { return busyboxImage(p), nil },
		"nonroot": func() (image.Spec, error) {
			return image.Spec{Rootfs: p.shell, Entrypoint: []string{"sh", "-c", "echo with uid $(id -u)"}, User: "1234"}, nil
		},
	}
}

// named are the images of a kind, whatever their registries and versions.
func named(names []string, kind string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		base, _, _ := strings.Cut(path.Base(name), ":")
		return base != kind
	})
}

// curlFiles are the distribution's curl with what it needs, by which the suite asks from inside of its image.
func curlFiles(ctx context.Context, cache string, p pantry) ([]image.File, error) {
	libs, err := debian.Libraries(ctx, "curl")
	if err != nil {
		return nil, err
	}
	debs, err := debian.Fetch(ctx, cache, append(libs, "curl")...)
	if err != nil {
		return nil, err
	}
	if err := debian.Unpack(ctx, p.dir, debs...); err != nil {
		return nil, err
	}
	names, err := debian.Needs(p.dir, "usr/bin/curl")
	if err != nil {
		return nil, err
	}
	var files []image.File
	for _, name := range names {
		f, err := take(p.dir, name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// agnhostImage has the users and tools that the suite expects in it; the program is still to come.
func agnhostImage(p pantry, tools []image.File) image.Spec {
	files := slices.DeleteFunc(slices.Clone(p.shell), func(f image.File) bool { return f.Path == "etc/passwd" || f.Path == "etc/group" })
	return image.Spec{
		Rootfs: append(append(files, tools...),
			image.File{Path: "agnhost-2", Mode: fs.ModeSymlink | 0o777, Target: "agnhost"},
			image.File{Path: "uploads", Mode: fs.ModeDir | 0o777},
			text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n"),
			text("etc/group", "root:x:0:\nnogroup:x:65534:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"),
		),
		Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
	}
}
