package usage

import (
	"testing"
	"time"
)

func TestBetween(t *testing.T) {
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	second := uint64(time.Second)
	point := func(when time.Time, cpu uint64) Point { return Point{Time: when, CPU: cpu, WorkingSet: 7} }
	for name, c := range map[string]struct {
		first, last Point
		begin       time.Time
		cores       float64
		window      time.Duration
		known       bool
	}{
		"half a core for ten seconds":               {point(at(0), 3*second), point(at(10), 8*second), at(-100), .5, 10 * time.Second, true},
		"two cores":                                 {point(at(0), 0), point(at(1), 2*second), at(-100), 2, time.Second, true},
		"idle":                                      {point(at(0), second), point(at(1), second), at(-100), 0, time.Second, true},
		"began between the two":                     {Point{}, point(at(10), 4*second), at(6), 1, 4 * time.Second, true},
		"began anew under the same name":            {point(at(0), 100*second), point(at(10), second), at(8), .5, 2 * time.Second, true},
		"began a moment ago":                        {Point{}, point(at(10), second), at(9.9), 0, 0, false},
		"nobody knows when it began":                {Point{}, point(at(10), second), time.Time{}, 0, 0, false},
		"the counter went back without a beginning": {point(at(0), 9*second), point(at(10), second), time.Time{}, 0, 0, false},
		"two points at one time":                    {point(at(0), second), point(at(0), second), at(-100), 0, 0, false},
	} {
		got, known := Between(c.first, c.last, c.begin)
		want := Use{}
		if c.known {
			want = Use{Time: c.last.Time, Window: c.window, NanoCores: uint64(c.cores * 1e9), WorkingSet: 7}
		}
		if known != c.known || got != want {
			t.Errorf("%s: %+v %v, want %+v", name, got, known, want)
		}
	}
}
