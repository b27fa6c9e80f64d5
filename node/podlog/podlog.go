// Package podlog reads the log files that a container runtime writes for the CRI: one line per write, as
//
//	2026-08-01T10:00:00.000000000Z stdout F the text
//
// where F ends a line of the program and P is a part of a longer one.
package podlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options choose what of a log is written; they mean what the fields of PodLogOptions mean.
type Options struct {
	Follow     bool
	Tail       *int64
	Since      time.Time
	Timestamps bool
	LimitBytes *int64
	Stream     string // stdout, stderr, or both when empty
}

// Line is one record of a log file. Text ends with a newline unless the record is a part of a longer line.
type Line struct {
	Time   time.Time
	Stamp  []byte
	Stream string
	Text   []byte
}

// ParseLine reads one record. The slices share its memory.
func ParseLine(record []byte) (Line, error) {
	stamp, rest, ok1 := bytes.Cut(record, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tag, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || !ok3 {
		return Line{}, fmt.Errorf("log: record %.40q is not of the form TIME STREAM TAG TEXT", record)
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Line{}, fmt.Errorf("log: time: %w", err)
	}
	if first, _, _ := bytes.Cut(tag, []byte{':'}); len(first) == 1 && first[0] == 'P' {
		text = bytes.TrimSuffix(text, []byte{'\n'})
	}
	return Line{Time: at, Stamp: stamp, Stream: string(stream), Text: text}, nil
}

// followPeriod is how often a followed log is looked at for more.
const followPeriod = 100 * time.Millisecond

// Read writes a log to w. With Follow it goes on, across rotations, until the context is done or, after running has become false,
// everything was written. A flush after each portion is up to w.
func Read(ctx context.Context, w io.Writer, path string, o Options, running func() bool) error {
	out := &writer{to: w, options: o, left: -1}
	if o.LimitBytes != nil {
		out.left = *o.LimitBytes
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer func() { file.Close() }()
	if o.Tail != nil {
		start, err := tailStart(file, *o.Tail)
		if err != nil {
			return fmt.Errorf("log: %w", err)
		}
		if _, err := file.Seek(start, io.SeekStart); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	var reader lines
	for {
		alive := o.Follow && running() // asked before the file is read to its end
		done, err := reader.drain(file, out)
		if done || err != nil || !alive {
			return err
		}
		if next := rotated(path, file); next != nil {
			if done, err := reader.drain(file, out); done || err != nil {
				next.Close()
				return err
			}
			file.Close()
			file, reader = next, lines{}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPeriod):
		}
	}
}

// rotated opens the file that has taken the place of the one being read, if any.
func rotated(path string, file *os.File) *os.File {
	now, err1 := os.Stat(path)
	old, err2 := file.Stat()
	if err1 != nil || err2 != nil || os.SameFile(now, old) {
		return nil
	}
	next, err := os.Open(path)
	if err != nil {
		return nil
	}
	return next
}

// lines splits a growing file; the last, unfinished record is kept for the next time.
type lines struct{ rest []byte }

func (l *lines) drain(file io.Reader, out *writer) (done bool, err error) {
	reader := bufio.NewReaderSize(file, 64<<10)
	for {
		record, err := reader.ReadBytes('\n')
		l.rest = append(l.rest, record...)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("log: %w", err)
		}
		done, err := out.write(l.rest)
		l.rest = l.rest[:0]
		if done || err != nil {
			return done, err
		}
	}
}

// writer applies the options to records.
type writer struct {
	to      io.Writer
	options Options
	left    int64 // bytes that may still be written; negative: any number
	partial bool  // the last record did not end a line
}

// write passes a record on and tells whether the limit is reached.
func (w *writer) write(record []byte) (done bool, err error) {
	line, err := ParseLine(record)
	if err != nil {
		return false, nil //nolint:nilerr // a damaged record is skipped, as upstream does
	}
	if line.Time.Before(w.options.Since) || (w.options.Stream != "" && w.options.Stream != line.Stream) {
		return false, nil
	}
	text := line.Text
	if w.options.Timestamps && !w.partial {
		text = append(append(append([]byte(nil), line.Stamp...), ' '), text...)
	}
	w.partial = !bytes.HasSuffix(text, []byte{'\n'})
	if w.left >= 0 && int64(len(text)) > w.left {
		text = text[:w.left]
	}
	if _, err := w.to.Write(text); err != nil {
		return false, fmt.Errorf("log: %w", err)
	}
	if w.left >= 0 {
		w.left -= int64(len(text))
	}
	return w.left == 0, nil
}

// tailStart finds where the last n lines of a file begin.
func tailStart(file io.ReaderAt, n int64) (int64, error) {
	size, err := sizeOf(file)
	if err != nil || n <= 0 {
		return size, err
	}
	const block = 16 << 10
	buf := make([]byte, block)
	seen := int64(0)
	for end := size; end > 0; {
		start := max(0, end-block)
		part := buf[:end-start]
		if _, err := file.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			if part[i] != '\n' || start+int64(i) == size-1 {
				continue // the newline at the very end closes the last line
			}
			if seen++; seen == n {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

func sizeOf(file io.ReaderAt) (int64, error) {
	if f, ok := file.(*os.File); ok {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	if s, ok := file.(interface{ Size() int64 }); ok {
		return s.Size(), nil
	}
	return 0, errors.New("log: size unknown")
}
