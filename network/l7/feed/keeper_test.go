package feed

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func newTestKeeper(t *testing.T) *keeper {
	return newKeeper(filepath.Join(t.TempDir(), "l7.json"), slog.New(slog.DiscardHandler))
}

func secretOf(name, key string) (item, *corev1.Secret) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Data: map[string][]byte{"key": []byte(key)}}
	return item{itemSecret, "shop/" + name}, s
}

func serviceOf(name, ip string) (item, keptService) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip}}
	return item{itemService, "shop/" + name}, keptService{Service: s}
}

// kept is what a process would begin with, in words.
func (k *keeper) kept(t *testing.T) string {
	t.Helper()
	f := &Feed{cfg: Config{File: k.path}, log: slog.New(slog.DiscardHandler)}
	s := f.load()
	if s == nil {
		return "nothing"
	}
	var words []string
	for _, name := range s.world.Services() {
		svc, _ := s.world.Service(name)
		words = append(words, name.Name+" "+svc.Spec.ClusterIP)
	}
	for _, name := range []string{"a", "b"} {
		if secret := s.secrets[types.NamespacedName{Namespace: "shop", Name: name}]; secret != nil {
			words = append(words, fmt.Sprintf("%s %s", name, secret.Data["key"]))
		}
	}
	return strings.Join(words, ", ")
}

func (k *keeper) lines(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
}

// Changes are added to what is there, and the last of each thing counts; what is not a change is not written.
func TestChangesAreKeptAsLines(t *testing.T) {
	k := newTestKeeper(t)
	web, one := serviceOf("web", "10.96.0.1")
	api, two := serviceOf("api", "10.96.0.2")
	_, three := serviceOf("api", "10.96.0.3")
	for i, step := range []struct {
		changes map[item]any
		want    string
		lines   int
	}{
		{map[item]any{}, "", 1},
		{map[item]any{web: one, api: two}, "api 10.96.0.2, web 10.96.0.1", 2},
		{map[item]any{web: one, api: keptService{Service: two.Service}}, "api 10.96.0.2, web 10.96.0.1", 2},
		{map[item]any{api: three}, "api 10.96.0.3, web 10.96.0.1", 3},
		{map[item]any{web: nil}, "api 10.96.0.3", 4},
		{map[item]any{web: nil}, "api 10.96.0.3", 4},
		{map[item]any{web: one}, "api 10.96.0.3, web 10.96.0.1", 5},
	} {
		k.put(step.changes)
		k.write()
		if got := k.kept(t); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
		if got := len(k.lines(t)); got != step.lines {
			t.Errorf("step %d: %d lines, want %d", i, got, step.lines)
		}
	}
	k.changes = fewChanges + 1
	k.put(map[item]any{web: nil})
	if k.write(); len(k.lines(t)) != 1 || k.kept(t) != "api 10.96.0.3" {
		t.Errorf("after many changes: %q", k.lines(t))
	}
}

// A power cut can leave any beginning of the file's last line: everything before counts.
func TestALineThatWasCutOffCountsForNothing(t *testing.T) {
	k := newTestKeeper(t)
	web, one := serviceOf("web", "10.96.0.1")
	_, two := serviceOf("web", "10.96.0.2")
	_, three := serviceOf("web", "10.96.0.3")
	for _, s := range []keptService{one, two, three} {
		k.put(map[item]any{web: s})
		k.write()
	}
	all := k.lines(t)
	before := strings.Join(all[:2], "")
	for cut := range len(all[2]) {
		if err := os.WriteFile(k.path, []byte(before+all[2][:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := k.kept(t); got != "web 10.96.0.2" {
			t.Fatalf("cut after %d bytes: %s", cut, got)
		}
	}
	if err := os.WriteFile(k.path, []byte(before+strings.Repeat("\x00", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := k.kept(t); got != "web 10.96.0.2" {
		t.Errorf("with zeros at its end: %s", got)
	}
}

// No key of a certificate stays in the file that is not served with any more.
func TestKeysThatAreNotServedAnyMoreAreNotKept(t *testing.T) {
	k := newTestKeeper(t)
	a, one := secretOf("a", "first")
	_, two := secretOf("a", "second")
	b, other := secretOf("b", "other")
	for i, step := range []struct {
		changes map[item]any
		want    string
		not     [][]byte
	}{
		{map[item]any{a: one}, "a first", nil},
		{map[item]any{b: other}, "a first, b other", nil},
		{map[item]any{a: two}, "a second, b other", [][]byte{one.Data["key"]}},
		{map[item]any{b: nil}, "a second", [][]byte{one.Data["key"], other.Data["key"]}},
	} {
		k.put(step.changes)
		if k.write(); k.kept(t) != step.want {
			t.Errorf("step %d: %s, want %s", i, k.kept(t), step.want)
		}
		text := strings.Join(k.lines(t), "")
		for _, key := range step.not {
			encoded, err := lineOf(map[item]any{a: key})
			if err != nil {
				t.Fatal(err)
			}
			if _, value, _ := bytes.Cut(encoded, []byte("shop/a\":")); strings.Contains(text, strings.Trim(string(value), "}\n")) {
				t.Errorf("step %d: %s is still in the file", i, key)
			}
		}
	}
}

// What cannot be written is not lost: the next write that succeeds has it, and what the file had before stays until then.
func TestWhatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	k := newTestKeeper(t)
	web, one := serviceOf("web", "10.96.0.1")
	_, two := serviceOf("web", "10.96.0.2")
	k.put(map[item]any{web: one})
	k.write()
	dir := filepath.Dir(k.path)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	k.put(map[item]any{web: two})
	if k.write(); !k.failing || len(k.wake) == 0 {
		t.Error("it is not tried again")
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if got := k.kept(t); got != "web 10.96.0.1" {
		t.Errorf("before it is tried again: %s", got)
	}
	if k.write(); k.failing || k.kept(t) != "web 10.96.0.2" {
		t.Errorf("after it was tried again: %s", k.kept(t))
	}
}
