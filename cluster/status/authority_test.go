package status

import (
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/pki"
)

func TestStatusTellsOfAnAuthorityThatEnds(t *testing.T) {
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for left, want := range map[time.Duration]string{2 * 365 * 24 * time.Hour: "", 300 * 24 * time.Hour: "true", -time.Hour: "false"} {
		got := ending(ca.CertPEM(), ca.Ends().Add(-left))
		switch {
		case want == "" && len(got) > 0, want != "" && len(got) != 1:
			t.Errorf("%s before its end: %+v", left, got)
		case want != "" && (got[0].OK != (want == "true") || !strings.Contains(got[0].Detail, ca.Ends().UTC().Format(time.DateOnly))):
			t.Errorf("%s before its end: %+v", left, got[0])
		}
	}
}
