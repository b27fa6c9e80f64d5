package reported

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/why"
)

// TestMemory follows one Service. Each step is what is wrong then, a letter for each finding: a is worth telling at once, s after
// 15 seconds, p after 30. The wanted text is what is told.
func TestMemory(t *testing.T) {
	after := map[rune]time.Duration{'a': 0, 's': 15 * time.Second, 'p': 30 * time.Second}
	for _, c := range []struct {
		name  string
		steps string // second:findings
		want  string
	}{
		{"at once, and once", "0:a 1:a 50:a 5000:a", "0:a"},
		{"a Service applied before its Deployment", "0:s 5:s 10: 20:", ""},
		{"too long", "0:s 14:s 15:s 16:s", "15:s"},
		{"each by its own time", "0:asp 15:asp 29:asp 30:asp", "0:a 15:s 30:p"},
		{"what was gone is told again, after its time", "0:s 15:s 20: 21:s 35:s 36:s 60:s", "15:s 36:s"},
		{"one goes, another stays", "0:as 15:as 20:s 21:as", "0:a 15:s 21:a"},
		{"another object of the name", "0:a 1:a 2:+a", "0:a 2:a"},
		{"told before the program started", "0:!a 1:!a", ""},
		{"told before, then gone, then back", "0:!a 1: 40:a", "40:a"},
		{"another thing was told before", "0:!as 15:!as", "15:s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, uid, got := Memory{}, "u1", []string{}
			for _, step := range strings.Fields(c.steps) {
				var second int
				var what string
				if n, err := fmt.Sscanf(step, "%d:%s", &second, &what); n < 1 {
					t.Fatal(step, err)
				}
				var before map[Key]bool
				if strings.HasPrefix(what, "!") { // an Event about a is there from an earlier run
					before = map[Key]bool{{"u1", "a"}: true}
				}
				if strings.HasPrefix(what, "+") {
					uid = "u2"
				}
				var found []why.Finding
				for _, letter := range strings.Trim(what, "!+") {
					found = append(found, why.Finding{Code: string(letter), After: after[letter]})
				}
				if len(found) == 0 { // the controller forgets the Service
					m = Memory{}
					continue
				}
				now := time.Unix(int64(second), 0)
				next := m.Observe(types.UID(uid), found, before, now)
				told := ""
				for _, f := range m.Due(found, now) {
					told += f.Code
				}
				if due := !next.IsZero() && !next.After(now); due != (told != "") {
					t.Errorf("at %s: next is %s, told %q", step, next, told)
				}
				if told != "" {
					got = append(got, fmt.Sprint(second, ":", told))
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("told %v, want %s", got, c.want)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	r := RateLimit{Interval: time.Second, Burst: 3}
	start := time.Unix(1000, 0)
	var got []string
	for _, at := range []int{0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 60, 60, 60, 60} {
		slot, ok := r.Slot(start.Add(time.Duration(at) * time.Second))
		got = append(got, fmt.Sprint(slot.Sub(start).Seconds(), map[bool]string{false: "?"}[ok]))
	}
	// Three at once, then one a second, three in advance; who asks beyond that is told when to ask again.
	want := "0 0 0 1 2 3 4? 4? 4 5 60 60 60 61"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}
