package history

import (
	"strings"
	"testing"
)

func TestAcknowledgedWritesAreThere(t *testing.T) {
	var o Object
	o.Acknowledged(Version{1, 10})
	for _, c := range []struct {
		name string
		saw  Version
		want string // of the error; "" for none
	}{
		{"what was written", Version{1, 10}, ""},
		{"with another part changed", Version{1, 12}, ""},
		{"nothing", Version{}, "read nothing, possible is value 1 at revision 10"},
		{"something else", Version{2, 11}, "read value 2 at revision 11"},
		{"an older state", Version{1, 9}, "read value 1 at revision 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o
			check(t, o.Saw(c.saw), c.want)
		})
	}
}

func TestUnansweredWrites(t *testing.T) {
	created := func() *Object {
		o := &Object{}
		o.Acknowledged(Version{1, 10})
		o.Unknown(2)
		return o
	}
	t.Run("did not happen, and still may", func(t *testing.T) {
		o := created()
		check(t, o.Saw(Version{1, 10}), "")
		check(t, o.Saw(Version{2, 11}), "")
		check(t, o.Saw(Version{1, 10}), "possible is value 2 at revision 11")
	})
	t.Run("can no longer happen at another revision", func(t *testing.T) {
		o := created()
		check(t, o.Saw(Version{1, 11}), "")
		check(t, o.Saw(Version{2, 12}), "possible is value 1 at revision 11")
	})
	t.Run("decided by a later write", func(t *testing.T) {
		o := created()
		o.Acknowledged(Version{3, 12})
		check(t, o.Saw(Version{2, 13}), "possible is value 3 at revision 12")
	})
	t.Run("a delete", func(t *testing.T) {
		o := created()
		o.Unknown(Absent)
		check(t, o.Saw(Version{}), "")
		if !o.Certain() || o.Known() != (Version{}) {
			t.Errorf("known %v, certain %v", o.Known(), o.Certain())
		}
	})
	t.Run("a create", func(t *testing.T) {
		var o Object
		o.Unknown(1)
		check(t, o.Saw(Version{}), "")
		check(t, o.Saw(Version{1, 4}), "")
		check(t, o.Saw(Version{}), "possible is value 1 at revision 4")
	})
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}
