// Package pages gives back memory that holds nothing but the program's own file.
package pages

import (
	"os"
	"strconv"
	"syscall"
)

// Drop takes the program's own file out of this process's resident memory. Starting touches most of a large binary once
// (package initialisation, schemes, generated tables); at rest it needs a fraction, which the next access maps again
// from the page cache. Only mappings that are read-only and hold nothing but the file are dropped, so nothing can be lost:
// a mapping that the loader has relocated has private pages, and stays.
//
// It imports next to nothing, because what runs before everything else is initialised uses it too.
func Drop() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var ours [][2]uint64
	var start, end uint64 // of the mapping that the following lines describe; zero: not one of ours
	for len(smaps) > 0 {
		var f []string
		f, smaps = fields(smaps)
		if len(f) < 2 {
			continue
		}
		if from, to, ok := bounds(f[0]); ok {
			start, end = 0, 0
			if len(f) >= 6 && f[5] == self && f[1][1] != 'w' {
				start, end = from, to
			}
		} else if f[0] == "Anonymous:" && f[1] == "0" && start != 0 {
			ours = append(ours, [2]uint64{start, end})
		}
	}
	for _, m := range ours { // at last and at once: what runs until then needs pages
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, uintptr(m[0]), uintptr(m[1]-m[0]), syscall.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return nil
}

// fields cuts the first line off text and splits it at spaces.
func fields(text []byte) (words []string, rest []byte) {
	begin := 0
	for i, c := range text {
		if c != ' ' && c != '\n' {
			continue
		}
		if i > begin {
			words = append(words, string(text[begin:i]))
		}
		begin = i + 1
		if c == '\n' {
			return words, text[i+1:]
		}
	}
	return words, nil
}

// bounds reads "START-END", hexadecimal.
func bounds(text string) (start, end uint64, ok bool) {
	for i := range text {
		if text[i] == '-' {
			start, err1 := strconv.ParseUint(text[:i], 16, 64)
			end, err2 := strconv.ParseUint(text[i+1:], 16, 64)
			return start, end, err1 == nil && err2 == nil
		}
	}
	return 0, 0, false
}
