package route

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A Covering finds what one after the other would, in whatever order the names are.
func TestCovering(t *testing.T) {
	labels := []string{"a", "b", "c", "", "*"}
	name := func() string {
		text := labels[rand.IntN(4)]
		for range rand.IntN(4) {
			text += "." + labels[rand.IntN(3)]
		}
		return text
	}
	found := 0
	for range 20000 {
		names := make([]string, rand.IntN(6))
		for i := range names {
			if names[i] = name(); rand.IntN(2) == 0 {
				names[i] = "*." + name()
			}
		}
		host := name()
		want := slices.IndexFunc(names, func(n string) bool { return Covers(n, host) })
		if got := NewCovering(len(names), func(i int) string { return names[i] }).Find(host); got != want {
			t.Fatalf("%q in %q: %d, want %d", host, names, got, want)
		}
		if want > 0 {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("%d were found: the generator does not reach them", found)
	}
}
