package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestMistypedWords: a word that is no command, and arguments that do not fit, end with an error that says what to type.
func TestMistypedWords(t *testing.T) {
	for words, want := range map[string]string{
		"debug servic x":       `unknown command "servic" for "fairlead debug"; 'fairlead debug --help'`,
		"image improt x.tar":   `unknown command "improt" for "fairlead image"; 'fairlead image --help'`,
		"node exce n1":         `unknown command "exce" for "fairlead node"`,
		"debug packet 1.2.3.4": `type 'fairlead debug packet FROM TO:PORT [PROTOCOL]`,
		"image import":         `type 'fairlead image import FILE ...`,
		"image ls --nmae x":    `unknown flag: --nmae; 'fairlead image ls --help'`,
		"upp":                  `unknown command "upp" for "fairlead"`,
	} {
		root := rootCommand()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(strings.Fields(words))
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fairlead %s: %v, want %q", words, err, want)
		}
	}
	for _, words := range []string{"debug", "image", "node"} {
		root := rootCommand()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs([]string{words})
		if err := root.Execute(); err != nil || !strings.Contains(out.String(), "Available Commands") {
			t.Errorf("fairlead %s: %v\n%s", words, err, &out)
		}
	}
}
