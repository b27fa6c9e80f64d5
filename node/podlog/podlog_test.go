package podlog

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const sample = `2026-08-01T10:00:00.000000001Z stdout F one
2026-08-01T10:00:01.000000001Z stderr F two
2026-08-01T10:00:02.000000001Z stdout P thr
2026-08-01T10:00:02.000000002Z stdout F ee
2026-08-01T10:00:03.000000001Z stdout F four
`

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func number(n int64) *int64 { return &n }

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, sample+"damaged line\n")
	since, err := time.Parse(time.RFC3339, "2026-08-01T10:00:02Z")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"all", Options{}, "one\ntwo\nthree\nfour\n"},
		{"stderr", Options{Stream: "stderr"}, "two\n"},
		{"tail", Options{Tail: number(2)}, "four\n"}, // the damaged line counts
		{"tail 0", Options{Tail: number(0)}, ""},
		{"tail of more than there is", Options{Tail: number(100)}, "one\ntwo\nthree\nfour\n"},
		{"since", Options{Since: since}, "three\nfour\n"},
		{"limit", Options{LimitBytes: number(5)}, "one\nt"},
		{"timestamps", Options{Timestamps: true, Since: since}, "2026-08-01T10:00:02.000000001Z three\n2026-08-01T10:00:03.000000001Z four\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Read(t.Context(), &out, path, test.options, nil); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.want {
				t.Errorf("got %q, want %q", out.String(), test.want)
			}
		})
	}
}

func TestTailOfALongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, strings.Repeat("2026-08-01T10:00:00Z stdout F "+strings.Repeat("x", 500)+"\n", 200)+sample)
	var out bytes.Buffer
	if err := Read(t.Context(), &out, path, Options{Tail: number(60)}, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n"); got != 59 { // one line came in two records
		t.Errorf("%d lines", got)
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String() == text
}

func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, "2026-08-01T10:00:00Z stdout F one\n2026-08-01T10:00:01Z std")
	var running atomic.Bool
	running.Store(true)
	var out buffer
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { ended <- Read(ctx, &out, path, Options{Follow: true}, running.Load) }()
	until := func(text string) {
		t.Helper()
		for !out.has(text) {
			if ctx.Err() != nil {
				t.Fatalf("timed out before %q", text)
			}
			time.Sleep(time.Millisecond)
		}
	}
	until("one\n")
	write(t, path, "out F two\n")
	until("one\ntwo\n")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	write(t, path+".old", "2026-08-01T10:00:02Z stdout F three\n")
	write(t, path, "2026-08-01T10:00:03Z stdout F four\n")
	until("one\ntwo\nthree\nfour\n")
	write(t, path, "2026-08-01T10:00:04Z stdout F five\n")
	running.Store(false)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	until("one\ntwo\nthree\nfour\nfive\n")
}
