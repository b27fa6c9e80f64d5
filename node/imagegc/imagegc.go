// Package imagegc decides which images of a node go when its disk runs full (kubelet's image garbage collection). It is pure.
package imagegc

import (
	"cmp"
	"slices"
	"time"
)

// The limits of use of the disk that holds the images, in percent: from High on images are removed until Low is reached. An image that is
// known for less than MinAge stays. Upstream's defaults.
const (
	High   = 85
	Low    = 80
	MinAge = 2 * time.Minute
)

// Image is an image of the runtime.
type Image struct {
	ID     string
	Size   int64 // bytes
	Pinned bool  // never removed
}

// Disk is the file system that holds the images, in bytes.
type Disk struct{ Capacity, Available int64 }

// Excess is how many bytes have to be freed; 0: none.
func (d Disk) Excess() int64 {
	if d.Capacity <= 0 || 100-d.Available*100/d.Capacity < High {
		return 0
	}
	return max(0, d.Capacity*(100-Low)/100-d.Available)
}

// History is since when images are known, and when they were last in use.
type History map[string]seen

type seen struct{ first, used time.Time }

// Note takes in what there is now. Images that are in use are used now; those that are gone are forgotten.
func (h History) Note(images []Image, inUse map[string]bool, now time.Time) {
	there := map[string]bool{}
	for _, i := range images {
		there[i.ID] = true
		s, known := h[i.ID]
		if !known {
			s.first = now
		}
		if inUse[i.ID] {
			s.used = now
		}
		h[i.ID] = s
	}
	for id := range h {
		if !there[id] {
			delete(h, id)
		}
	}
}

// Candidates are the images that may go, the one that was not used for longest first.
func (h History) Candidates(images []Image, inUse map[string]bool, now time.Time) []Image {
	may := slices.DeleteFunc(slices.Clone(images), func(i Image) bool {
		s := h[i.ID]
		return i.Pinned || inUse[i.ID] || now.Sub(s.first) < MinAge
	})
	slices.SortStableFunc(may, func(a, b Image) int {
		x, y := h[a.ID], h[b.ID]
		return cmp.Or(x.used.Compare(y.used), x.first.Compare(y.first), cmp.Compare(a.ID, b.ID))
	})
	return may
}
