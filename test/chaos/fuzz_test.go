package chaos

import (
	"os"
	"strings"
	"testing"

	"fairlead.dev/fairlead/internal/fuzz"
)

// nonsense is how many requests of TestFuzz go with each round.
const nonsense = 300

// TestFuzz sends made-up requests to every resource that is served. None may be answered as if the server were at fault, none
// may panic, and afterwards a Service must still follow its pods on both nodes.
func TestFuzz(t *testing.T) {
	r := newRun(t)
	canary := newCanary(r)
	found, err := fuzz.Run(t.Context(), r.cluster.config(), *seed, *rounds*nonsense)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
	log, err := os.ReadFile(r.cluster.path("server.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "panic") {
			t.Error(line)
		}
	}
	canary.sings()
}
