package imagegc

import (
	"fmt"
	"testing"
	"time"
)

func TestExcess(t *testing.T) {
	for _, c := range []struct {
		disk Disk
		want int64
	}{{Disk{1000, 160}, 0}, {Disk{1000, 150}, 50}, {Disk{1000, 0}, 200}, {Disk{0, 0}, 0}, {Disk{1000, 1000}, 0}} {
		if got := c.disk.Excess(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.disk, got, c.want)
		}
	}
}

// TestCandidates: who is in use, pinned or young stays; of the rest the one that was not used for longest goes first.
func TestCandidates(t *testing.T) {
	at := func(minutes int) time.Time { return time.Unix(0, 0).Add(time.Duration(minutes) * time.Minute) }
	images := []Image{{ID: "never"}, {ID: "late"}, {ID: "early"}, {ID: "pinned", Pinned: true}, {ID: "used"}}
	h := History{}
	h.Note(images, map[string]bool{"early": true}, at(0))
	h.Note(images, map[string]bool{"late": true}, at(1))
	images = append(images, Image{ID: "young"})
	now := map[string]bool{"used": true}
	h.Note(images, now, at(5))
	ids := ""
	for _, i := range h.Candidates(images, now, at(6)) {
		ids += fmt.Sprint(i.ID, " ")
	}
	if ids != "never early late " {
		t.Error(ids)
	}
	h.Note(nil, nil, at(7))
	if len(h) != 0 {
		t.Errorf("what is gone is remembered: %v", h)
	}
}
