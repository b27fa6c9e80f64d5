package definitions

import (
	"bytes"
	"testing"
)

func TestCommon(t *testing.T) {
	all, total := Common(), 0
	for i, again := range Common() {
		if !bytes.Equal(all[i], again) {
			t.Errorf("definition %d is another at the second call", i)
		}
		total += len(again)
	}
	if len(all) != 53 || total < 8<<20 || total > 10<<20 {
		t.Errorf("%d definitions of %d KB, want 53 of 8 to 10 MB", len(all), total>>10)
	}
	if n := len(Operator()); n != 11 {
		t.Errorf("%d definitions of one operator, want 11", n)
	}
}
