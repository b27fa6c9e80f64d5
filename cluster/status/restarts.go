package status

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/internal/keeper"
)

// kept is what `status` knows of a main process that is kept alive.
type kept struct {
	Restarts int       `json:"restarts"`
	At       time.Time `json:"at"`
	GaveUp   bool      `json:"gaveUp"`
	Reason   string    `json:"reason"`
}

// restarts reads what the keeper has noted; nothing died: nothing is noted.
func restarts(inst instance.Instance) kept {
	var k kept
	if text, err := os.ReadFile(inst.Path(keeper.RecordFile)); err == nil {
		json.Unmarshal(text, &k) // half of it is better than none
	}
	return k
}

func (k kept) String() string {
	times := "once"
	if k.Restarts > 1 {
		times = fmt.Sprintf("%d times", k.Restarts)
	}
	if k.GaveUp {
		return fmt.Sprintf("given up after %d tries, at %s: %s; mend it, then 'fairlead up'", k.Restarts+1, k.At.Local().Format(time.DateTime), k.Reason)
	}
	return fmt.Sprintf("started again %s since 'fairlead up', last at %s: %s", times, k.At.Local().Format(time.DateTime), k.Reason)
}
