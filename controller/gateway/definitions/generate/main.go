// Command generate writes standard.json.gz and LICENSE of package definitions, into a directory, from the
// module of Gateway API.
package main

import (
	"bytes"
	"compress/gzip"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	to := "."
	if len(os.Args) > 1 {
		to = os.Args[1]
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		log.Fatal(err)
	}
	module := strings.TrimSpace(string(dir))
	files, err := filepath.Glob(filepath.Join(module, "config/crd/standard/gateway.networking.k8s.io_*.yaml"))
	if err != nil {
		log.Fatal(err)
	}
	var all bytes.Buffer
	packed, err := gzip.NewWriterLevel(&all, gzip.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		if !bytes.Contains(text, []byte("kind: CustomResourceDefinition")) {
			continue
		}
		line, err := yaml.YAMLToJSON(mark(text))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := packed.Write(append(line, '\n')); err != nil {
			log.Fatal(err)
		}
	}
	if err := packed.Close(); err != nil {
		log.Fatal(err)
	}
	license, err := os.ReadFile(filepath.Join(module, "LICENSE"))
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range map[string][]byte{"standard.json.gz": all.Bytes(), "LICENSE": license} {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// mark notes in a definition that it is installed by the program.
func mark(text []byte) []byte {
	return bytes.Replace(text, []byte("\n  annotations:\n"), []byte("\n  annotations:\n    fairlead.dev/installed: \"true\"\n"), 1)
}
