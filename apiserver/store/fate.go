package store

import (
	"fmt"
	"runtime"
	"sync"

	"go.uber.org/zap/zapcore"
)

// fate is the end of an etcd that cannot go on. etcd reports that by a fatal line or a panic of its logger, on any of its
// goroutines, and means the process to end; here only the goroutine ends, and the store says why.
type fate struct {
	sealed chan struct{}
	once   sync.Once
	err    error // set before sealed is closed
}

func newFate() *fate { return &fate{sealed: make(chan struct{})} }

// OnWrite is part of zapcore.CheckWriteHook.
func (f *fate) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	text := e.Message
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
			text += ": " + err.Error()
		}
	}
	f.seal(fmt.Errorf("%s", text))
	runtime.Goexit()
}

func (f *fate) seal(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.sealed)
	})
}
