package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"fairlead.dev/fairlead/node/image"
)

// busyboxFiles are busybox, a link for each of its tools, and the few files
// that programs expect of a root file system.
func busyboxFiles(ctx context.Context, root string) ([]image.File, error) {
	program := filepath.Join(root, "bin/busybox")
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tools of busybox: %w", err)
	}
	files := []image.File{
		{Path: "bin/busybox", Mode: 0o755, Data: data},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "root", Mode: fs.ModeDir | 0o700},
		text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		text("etc/group", "root:x:0:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n"),
		text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
	}
	for _, tool := range strings.Fields(string(list)) {
		if tool != "busybox" {
			files = append(files, image.File{Path: "bin/" + tool, Mode: fs.ModeSymlink | 0o777, Target: "busybox"})
		}
	}
	return files, nil
}

// text is a readable file.
func text(path, content string) image.File {
	return image.File{Path: path, Mode: 0o644, Data: []byte(content)}
}

// busyboxImage is a shell with small tools, for clients inside the cluster.
func busyboxImage(p pantry) image.Spec {
	return image.Spec{
		Refs:   []string{"docker.io/library/busybox:latest", "docker.io/library/busybox:1.28", "docker.io/library/busybox:1.35"},
		Rootfs: p.shell,
		Cmd:    []string{"sh"},
	}
}
