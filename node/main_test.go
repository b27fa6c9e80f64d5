package node

import (
	"testing"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestMain runs the tests in a network namespace of their own: the pods' links are made there.
func TestMain(m *testing.M) { netlab.Main(m, nil) }
