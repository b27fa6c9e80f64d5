package spec

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestEnvFile: what a file with variables may look like (KEP-3721).
func TestEnvFile(t *testing.T) {
	for _, test := range []struct {
		text string
		want map[string]string
		err  string
	}{
		{"", map[string]string{}, ""},
		{"A='1'\n\n # comment\n  B='two words' # said\nC=''", map[string]string{"A": "1", "B": "two words", "C": ""}, ""},
		{"A='first\nsecond'\nB='$(A)\\n'\n", map[string]string{"A": "first\nsecond", "B": "$(A)\\n"}, ""},
		{"A='1'\nA='2'", map[string]string{"A": "1"}, ""},
		{"A= '1'", map[string]string{"A": ""}, ""},
		{"A", nil, "line 1: missing '='"},
		{"A='1'\n='2'", nil, "line 2: empty variable name"},
		{"A ='1'", nil, "line 1: whitespace before '='"},
		{"A=1", nil, "line 1: value must be enclosed"},
		{"\nA='1\n2", nil, "starting at line 2: unclosed"},
		{"A='1'2", nil, "line 1: unexpected content"},
	} {
		got, err := parseEnvFile(test.text)
		if test.err == "" && (err != nil || !maps.Equal(got, test.want)) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%q: got %q, %v", test.text, got, err)
		}
	}
}

// TestEnvFromFiles: a variable whose file or key is missing stops its container, unless it is optional.
func TestEnvFromFiles(t *testing.T) {
	yes := true
	at := func(path, key string, optional *bool) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: path, Key: key, Optional: optional}}}}
	}
	files := map[EnvFile]string{{"v", "f"}: "K='1'", {"v", "broken"}: "K"}
	for _, test := range []struct {
		env       []corev1.EnvVar
		want, err string
	}{
		{at("f", "K", nil), "1", ""},
		{at("f", "L", nil), "", `environment variable key "L" not found in file "f"`},
		{at("f", "L", &yes), "unset", ""},
		{at("g", "K", nil), "", "couldn't parse env file"},
		{at("g", "K", &yes), "unset", ""},
		{at("broken", "K", &yes), "", "couldn't parse env file"},
	} {
		env, err := Env(&corev1.Pod{}, &corev1.Container{Env: test.env}, Node{}, EnvSources{Files: files})
		got := "unset"
		if len(env) > 0 {
			got = string(env[0].Value)
		}
		if test.err == "" && (err != nil || got != test.want) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%+v: got %q, %v", *test.env[0].ValueFrom.FileKeyRef, got, err)
		}
	}
}
