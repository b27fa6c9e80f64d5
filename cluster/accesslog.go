package cluster

import (
	"fmt"
	"os"
	"sync"
)

// mostLogged is how large the file of an access log becomes, in bytes, before it is put aside. One that was put aside before goes.
const mostLogged = 64 << 20

// accessLog is a file for the lines of an access log, which takes no more of the disk than twice its largest size. It is an
// io.Writer for several goroutines.
type accessLog struct {
	path string
	most int64

	mu   sync.Mutex // guards below
	file *os.File   // nil: it is opened by the next line
	size int64
}

// Write appends whole lines. What cannot be written is lost: no request waits for a disk that is full.
func (l *accessLog) Write(lines []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.size+int64(len(lines)) > l.most {
		l.close()
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return 0, fmt.Errorf("access log: %w", err)
		}
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, fmt.Errorf("access log: %w", err)
		}
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	return n, err
}

func (l *accessLog) open() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // nothing was written
		return err
	}
	l.file, l.size = file, info.Size()
	return nil
}

func (l *accessLog) close() {
	_ = l.file.Close() // what was written is with the kernel
	l.file = nil
}
