package keeper

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// reason says how a process ended; one that could still speak has said why in the log since the given length.
func reason(status syscall.WaitStatus, log int64) string {
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return "killed by signal 9, as a person does, and the kernel when memory runs out"
	case status.Signaled():
		return "ended by signal " + strconv.Itoa(int(status.Signal()))
	}
	if why := cause(log); why != "" {
		return why
	}
	return "ended with code " + strconv.Itoa(status.ExitStatus())
}

// logSize is the length of the log, which is this process's standard error.
func logSize() int64 {
	info, err := os.Stderr.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// last are the beginnings of a line that a program of ours ends with.
var last = []string{"panic: ", "fatal error: ", "fairlead: "}

const (
	longest  = 300     // bytes of a line that are told
	searched = 1 << 20 // bytes of the log, from its end
)

// cause is the last line of the log, after the given length, that tells why a process ended.
func cause(from int64) string {
	log, err := os.Open("/proc/self/fd/2")
	if err != nil {
		return ""
	}
	defer log.Close()
	from = max(from, logSize()-searched)
	if _, err := log.Seek(from, 0); err != nil {
		return ""
	}
	return lastCause(log.Read)
}

// lastCause reads lines in little memory, however long they are.
func lastCause(read func([]byte) (int, error)) string {
	var found string
	line := make([]byte, 0, longest)
	buffer := make([]byte, 16<<10)
	for {
		n, err := read(buffer)
		for _, c := range buffer[:n] {
			if c != '\n' {
				if len(line) < longest {
					line = append(line, c)
				}
				continue
			}
			if tells(line) {
				found = string(line)
			}
			line = line[:0]
		}
		if n == 0 || err != nil {
			return found
		}
	}
}

func tells(line []byte) bool {
	for _, begin := range last {
		if len(line) > len(begin) && string(line[:len(begin)]) == begin {
			return true
		}
	}
	return false
}

// record leaves for `status` how often the main process was started again, and why.
func (k *keeper) record(reason string, gaveUp bool) {
	text := `{"restarts":` + strconv.Itoa(k.restarts) + `,"at":"` + time.Now().UTC().Format(time.RFC3339) +
		`","gaveUp":` + strconv.FormatBool(gaveUp) + `,"reason":"` + plain(reason) + "\"}\n"
	path := k.dir + "/" + RecordFile
	if os.WriteFile(path+".new", []byte(text), 0o600) == nil {
		os.Rename(path+".new", path) // what is lost here is in the log
	}
}

// plain is text that needs no escape inside a JSON string.
func plain(text string) string {
	out := []byte(text)
	for i, c := range out {
		switch {
		case c < ' ' || c > '~':
			out[i] = ' '
		case c == '"' || c == '\\':
			out[i] = '\''
		}
	}
	return string(out)
}
