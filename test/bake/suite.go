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

// bakeSuite writes images for Kubernetes' end-to-end suite under the names that it lists: its own test program, built from its module
// on a shell, and the distribution's programs for those that it takes from elsewhere. The names of what cannot be had are left out.
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
		curl, err := curlFiles(ctx, cache, p)
		if err != nil {
			return err
		}
		agnhost, err := buildIn(ctx, suiteModule, "k8s.io/kubernetes/test/images/agnhost")
		if err != nil {
			return err
		}
		nnp, err := buildIn(ctx, suiteModule, "k8s.io/kubernetes/test/images/nonewprivs")
		if err != nil {
			return err
		}
		nginx, err := nginxImage(p)
		if err != nil {
			return err
		}
		var all []archive
		for kind, spec := range map[string]image.Spec{
			"agnhost": agnhostImage(p, agnhost, curl), "nginx": nginx, "busybox": busyboxImage(p),
			"pause":   {Rootfs: program("agnhost", agnhost), Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}},
			"nonroot": {Rootfs: p.shell, Entrypoint: []string{"sh", "-c", "echo with uid $(id -u)"}, User: "1234"},
			"nonewprivs": {
				Rootfs: []image.File{{Path: "usr/local/bin/nnp", Mode: fs.ModeSetuid | 0o755, Data: nnp}}, Cmd: []string{"/usr/local/bin/nnp"},
			},
		} {
			if spec.Refs = named(names, kind); len(spec.Refs) > 0 {
				all = append(all, archive{kind + ".tar", spec})
			}
		}
		return write(out, all)
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

// agnhostImage has the users and tools that the suite expects in it.
func agnhostImage(p pantry, program []byte, tools []image.File) image.Spec {
	files := slices.DeleteFunc(slices.Clone(p.shell), func(f image.File) bool { return f.Path == "etc/passwd" || f.Path == "etc/group" })
	return image.Spec{
		Rootfs: append(append(files, tools...),
			image.File{Path: "agnhost", Mode: 0o755, Data: program},
			image.File{Path: "agnhost-2", Mode: fs.ModeSymlink | 0o777, Target: "agnhost"},
			image.File{Path: "uploads", Mode: fs.ModeDir | 0o777},
			text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n"),
			text("etc/group", "root:x:0:\nnogroup:x:65534:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"),
		),
		Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
	}
}
