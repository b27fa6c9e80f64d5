package server

import (
	"testing"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestMain runs the tests in a network namespace of their own, which nothing leaves.
func TestMain(m *testing.M) { netlab.Main(m, nil) }
