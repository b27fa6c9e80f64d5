package endpoints

import "testing"

// TestE33_WhoHasChangedAnObject: events come before the answer to a write, or after a sync that has seen it in the cache.
func TestE33_WhoHasChangedAnObject(t *testing.T) {
	k := key("default", "web")
	wrote := func(v string) func(*edits) { return func(e *edits) { e.wrote(k, v) } }
	saw := func(v string) func(*edits) { return func(e *edits) { e.saw(k, v) } }
	lost := func(e *edits) { e.lost(k) }
	settle := func(v string) func(*edits) { return func(e *edits) { e.settle(k, v) } }
	for _, test := range []struct {
		name             string
		before           []func(*edits)
		version          string
		changed, deleted bool
		left             int // notes
	}{
		{"nothing is known", nil, "5", false, false, 0},
		{"the event of an own write", []func(*edits){wrote("5"), saw("5")}, "5", false, false, 0},
		{"the event before the answer", []func(*edits){saw("5"), wrote("5")}, "5", false, false, 0},
		{"the event still to come", []func(*edits){wrote("5")}, "5", false, false, 1},
		{"the event after a sync", []func(*edits){wrote("5"), settle("5"), saw("5")}, "5", false, false, 0},
		{"the event after two syncs", []func(*edits){wrote("5"), settle("5"), settle("5"), saw("5")}, "5", false, false, 0},
		{"somebody else's", []func(*edits){wrote("5"), saw("5"), saw("6")}, "6", true, false, 0},
		{"somebody else's, told once", []func(*edits){saw("6"), settle("6")}, "6", false, false, 0},
		{"somebody else's after a late event", []func(*edits){wrote("5"), settle("5"), saw("5"), saw("6")}, "6", true, false, 0},
		{"deleted", []func(*edits){wrote("5"), saw("5"), lost}, "", false, true, 0},
		{"deleted after a sync", []func(*edits){wrote("5"), settle("5"), lost}, "", false, true, 0},
	} {
		var e edits
		for _, f := range test.before {
			f(&e)
		}
		changed, deleted := e.settle(k, test.version)
		if changed != test.changed || deleted != test.deleted || len(e.notes) != test.left {
			t.Errorf("%s: changed %t, deleted %t, %d notes left; want %t, %t, %d", test.name, changed, deleted, len(e.notes), test.changed, test.deleted, test.left)
		}
	}
}
