package spec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// EnvFile is a file in a volume of a pod that variables are taken from (KEP-3721). Path is relative to the volume.
type EnvFile struct{ Volume, Path string }

// EnvFiles are the files that a container's variables are taken from.
func EnvFiles(c *corev1.Container) []EnvFile {
	var files []EnvFile
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FileKeyRef != nil {
			files = append(files, EnvFile{from.FileKeyRef.VolumeName, from.FileKeyRef.Path})
		}
	}
	return files
}

// fileValue is the value of a key of a file. An optional one that is missing, or whose file is, sets nothing.
func fileValue(ref *corev1.FileKeySelector, m EnvSources) (value string, set bool, err error) {
	text, ok := m.Files[EnvFile{ref.VolumeName, ref.Path}]
	if !ok {
		return "", false, missing(isTrue(ref.Optional), "couldn't parse env file: there is no file %q in volume %q", ref.Path, ref.VolumeName)
	}
	values, err := parseEnvFile(text)
	if err != nil {
		return "", false, fmt.Errorf("couldn't parse env file: %q: %w", ref.Path, err)
	}
	if value, ok := values[ref.Key]; ok {
		return value, true, nil
	}
	return "", false, missing(isTrue(ref.Optional), "environment variable key %q not found in file %q", ref.Key, ref.Path)
}

// parseEnvFile reads lines of NAME='value', as kubelet does: the value stands between single quotes, in which nothing is special and which may
// span lines; blank lines and comments are passed over, and a comment may follow a value. With white space behind the = the value is empty. Of a
// name that comes twice the first value counts.
func parseEnvFile(text string) (map[string]string, error) {
	values := map[string]string{}
	for line := 1; text != ""; {
		var head string
		head, text, _ = strings.Cut(text, "\n")
		head = strings.TrimLeft(strings.TrimSuffix(head, "\r"), " \t")
		at := line
		line++
		if head == "" || head[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(head, "=")
		switch {
		case !ok:
			return nil, fmt.Errorf("invalid environment variable format at line %d: missing '='", at)
		case strings.TrimSpace(name) == "":
			return nil, fmt.Errorf("invalid environment variable format at line %d: empty variable name", at)
		case name != strings.TrimRight(name, " \t"):
			return nil, fmt.Errorf("invalid environment variable format at line %d: whitespace before '=' is not allowed", at)
		case value != strings.TrimLeft(value, " \t"):
			value = "''"
		case !strings.HasPrefix(value, "'"):
			return nil, fmt.Errorf("invalid environment variable format at line %d: value must be enclosed in single quotes", at)
		}
		value = value[1:]
		for !strings.Contains(value, "'") {
			if text == "" {
				return nil, fmt.Errorf("invalid environment variable format starting at line %d: unclosed single quote", at)
			}
			var more string
			more, text, _ = strings.Cut(text, "\n")
			value, line = value+"\n"+more, line+1
		}
		value, behind, _ := strings.Cut(value, "'")
		if behind = strings.TrimLeft(behind, " \t"); behind != "" && behind[0] != '#' {
			return nil, fmt.Errorf("invalid environment variable format at line %d: unexpected content after closing quote", line-1)
		}
		if _, ok := values[name]; !ok {
			values[name] = value
		}
	}
	return values, nil
}
