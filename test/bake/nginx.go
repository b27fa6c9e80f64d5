package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/test/bake/debian"
)

// nginxConfig is a plain nginx serving /usr/share/nginx/html on port 80, with
// the log on standard output. Server-side includes are on, so that the front
// page can name the pod; a page of the user's is served as it is.
const nginxConfig = `user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;

events {
	worker_connections 1024;
}

http {
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	access_log /var/log/nginx/access.log;
	sendfile on;
	keepalive_timeout 65;
	include /etc/nginx/conf.d/*.conf;
}
`

const nginxSite = `server {
	listen 80;
	server_name _;
	root /usr/share/nginx/html;
	index index.html;
	ssi on;
}
`

// nginxPage tells which pod answers; the two variables are filled in by nginx.
const nginxPage = `<h1>Welcome to nginx!</h1> <p>nginx on <!--#echo var="hostname" --> (<!--#echo var="server_addr" -->)</p>
`

// nginxImage is the distribution's nginx under the names that manifests use.
func nginxImage(p pantry) (image.Spec, error) {
	names, err := debian.Needs(p.dir, "usr/sbin/nginx")
	if err != nil {
		return image.Spec{}, err
	}
	files := append(slices.Clone(p.shell),
		text("etc/nginx/nginx.conf", nginxConfig),
		text("etc/nginx/conf.d/default.conf", nginxSite),
		text("usr/share/nginx/html/index.html", nginxPage),
		image.File{Path: "run", Mode: fs.ModeDir | 0o755},
		image.File{Path: "var/lib/nginx", Mode: fs.ModeDir | 0o755},
		image.File{Path: "var/log/nginx/access.log", Mode: fs.ModeSymlink | 0o777, Target: "/dev/stdout"},
		image.File{Path: "var/log/nginx/error.log", Mode: fs.ModeSymlink | 0o777, Target: "/dev/stderr"},
	)
	for _, name := range append(names, "etc/nginx/mime.types") {
		f, err := take(p.dir, name)
		if err != nil {
			return image.Spec{}, fmt.Errorf("nginx image: %w", err)
		}
		files = append(files, f)
	}
	return image.Spec{
		Refs: []string{
			"docker.io/library/nginx:latest", "docker.io/library/nginx:1.14.1", "docker.io/library/nginx:1.22.1",
		},
		Rootfs:     files,
		Cmd:        []string{"nginx", "-g", "daemon off;"},
		StopSignal: "SIGQUIT", // nginx finishes requests under way
		Ports:      []string{"80/tcp"},
	}, nil
}

// take reads one file or symbolic link of the unpacked tree root.
func take(root, name string) (image.File, error) {
	full := filepath.Join(root, name)
	info, err := os.Lstat(full)
	if err != nil {
		return image.File{}, err
	}
	f := image.File{Path: name, Mode: info.Mode()}
	if info.Mode()&fs.ModeSymlink != 0 {
		f.Target, err = os.Readlink(full)
	} else {
		f.Data, err = os.ReadFile(full)
	}
	return f, err
}
