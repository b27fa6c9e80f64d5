package keeper

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestImports: whatever is initialised later than this package would be waited for, and its memory paid for.
func TestImports(t *testing.T) {
	allowed := []string{`"os"`, `"strconv"`, `"syscall"`, `"time"`, `"unsafe"`, `"fairlead.dev/fairlead/internal/pages"`}
	for _, dir := range []string{".", "../pages"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.Imports {
				if !slices.Contains(allowed, i.Path.Value) {
					t.Errorf("%s imports %s: only %v cost nothing", name, i.Path.Value, allowed)
				}
			}
		}
	}
}

// One that was ready is started again for ever, after longer and longer pauses, which a long life forgets.
func TestReadyIsStartedForEver(t *testing.T) {
	var h history
	last := time.Duration(0)
	for i := range 1000 {
		pause, again := h.next(life{ready: true, lasted: time.Second})
		if !again || pause < last || pause > lastPause || i == 0 && pause != firstPause {
			t.Fatalf("death %d: pause %s after %s, again %v", i+1, pause, last, again)
		}
		last = pause
	}
	if last != lastPause {
		t.Errorf("the pause is %s in the end, want %s", last, lastPause)
	}
	if pause, again := h.next(life{ready: true, lasted: steady}); pause != firstPause || !again {
		t.Errorf("after a long life: %s, %v", pause, again)
	}
}

// One that never becomes ready is given up; one that becomes so now and then is not.
func TestNeverReadyIsGivenUp(t *testing.T) {
	var h history
	for i := 1; ; i++ {
		_, again := h.next(life{lasted: time.Second})
		if !again {
			if i != unreadyMost {
				t.Errorf("given up after %d", i)
			}
			break
		}
	}
	h = history{}
	for i := range 5 * unreadyMost {
		if _, again := h.next(life{ready: i%unreadyMost == 0, lasted: time.Second}); !again {
			t.Fatalf("given up after %d", i+1)
		}
	}
}

func TestLastCause(t *testing.T) {
	long := strings.Repeat("x", 100000)
	for _, c := range []struct{ log, want string }{
		{"", ""},
		{"time=1 level=INFO msg=a\n", ""},
		{"panic: first [recovered]\n\tpanic: second\n\ngoroutine 1 [running]:\n" + long + "\nmain.main()\n", "panic: first [recovered]"},
		{"fairlead: store: damaged\ntime=1 msg=b\n", "fairlead: store: damaged"},
		{"fatal error: " + long + "\n", "fatal error: " + long[:longest-len("fatal error: ")]},
		{"fairlead: not ended", ""},
	} {
		if got := lastCause(strings.NewReader(c.log).Read); got != c.want {
			t.Errorf("%.40q: %q, want %q", c.log, got, c.want)
		}
	}
}

func TestRecord(t *testing.T) {
	k := &keeper{dir: t.TempDir(), history: history{restarts: 3}}
	k.record("panic: \"quoted\\\" \x00 \xff ü\n", true)
	text, err := os.ReadFile(filepath.Join(k.dir, RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Restarts int
		At       time.Time
		GaveUp   bool
		Reason   string
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Restarts != 3 || !got.GaveUp || got.At.IsZero() || !strings.HasPrefix(got.Reason, "panic: 'quoted'' ") {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
}
