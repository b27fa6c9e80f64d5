package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropStartupPages takes the program's own file out of its resident memory. Starting touches most of a large binary once
// (package initialisation, schemes, generated tables); at rest it needs a fraction, which the next access maps again
// from the page cache. Only mappings that are read-only and hold nothing but the file are dropped, so nothing can be lost:
// a mapping that the loader has relocated has private pages, and stays.
func dropStartupPages() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer smaps.Close()
	var start, end uint64 // of the mapping that the following lines describe; zero: not one of ours
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			start, end = 0, 0
			if len(f) == 6 && f[5] == self && !strings.Contains(f[1], "w") {
				start, end = bounds(f[0])
			}
		case f[0] == "Anonymous:" && f[1] == "0" && start != 0:
			if err := madvise(uintptr(start), uintptr(end-start)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bounds reads "START-END", hexadecimal.
func bounds(text string) (start, end uint64) {
	from, to, _ := strings.Cut(text, "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil {
		return 0, 0
	}
	return start, end
}

func madvise(addr, length uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, addr, length, unix.MADV_DONTNEED)
	if errno != 0 {
		return errno
	}
	return nil
}
