package probe

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestCounter(t *testing.T) {
	tests := []struct {
		name     string
		kind     Kind
		up, down int32
		known    bool
		outcomes string // + success, - failure, ? unknown
		want     string // U or D at each flip, else .
	}{
		{"R14 readiness begins bad", Readiness, 1, 3, false, "---", "..."},
		{"R13 one success is enough", Readiness, 1, 3, false, "+", "U"},
		{"R13 three failures in a row", Readiness, 1, 3, false, "+--+---", "U.....D"},
		{"R2 two successes", Readiness, 2, 1, false, "+-++-", "...UD"},
		{"R14 liveness begins good", Liveness, 1, 3, false, "+---", "...D"},
		{"R12 what is unknown changes nothing", Liveness, 1, 2, false, "-?-", "..D"},
		{"R14 startup is undecided", Startup, 1, 2, false, "--", ".D"},
		{"R17 startup succeeds", Startup, 1, 2, false, "-+", ".U"},
		{"R25 a known state is kept until three failures", Readiness, 1, 3, true, "+---", "...D"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := &corev1.Probe{SuccessThreshold: test.up, FailureThreshold: test.down}
			c := CounterOf(test.kind, spec)
			if test.known {
				c = NewCounter(spec, true)
			}
			var got strings.Builder
			for _, o := range test.outcomes {
				switch flipped := c.Add(map[rune]Outcome{'+': Success, '-': Failure, '?': Unknown}[o]); {
				case flipped && c.Good:
					got.WriteByte('U')
				case flipped:
					got.WriteByte('D')
				default:
					got.WriteByte('.')
				}
			}
			if got.String() != test.want {
				t.Errorf("%s gives %s, want %s", test.outcomes, got.String(), test.want)
			}
		})
	}
}

func TestR1_Timing(t *testing.T) {
	if d, p, o := Timing(&corev1.Probe{}); d != 0 || p != 10*time.Second || o != time.Second {
		t.Errorf("defaults: %v %v %v", d, p, o)
	}
}

// Agents and control planes of one cluster may be of different builds: the wire form is what was agreed on once.
func TestReply(t *testing.T) {
	for text, want := range map[string]Outcome{
		`{"ok":true}`:                      Success,
		`{"ok":false,"message":"refused"}`: Failure,
		`{"ok":false,"unknown":true}`:      Unknown,
		`{"ok":false,"of later":"builds"}`: Failure,
	} {
		var r Reply
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Outcome() != want {
			t.Errorf("%s: %v %v, want %v", text, r.Outcome(), err, want)
		}
	}
}
