package nft

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/plan"
)

// lacking returns those features that the kernel does not have for the family.
// It tries them in a network namespace of its own, which ends with it.
func lacking(f *plan.Family, all []plan.Feature) (missing []plan.Feature, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and its namespace
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("network namespace to try the kernel in: %w", err)
			return
		}
		var s *socket
		if s, err = dial(); err != nil {
			return
		}
		defer s.Close()
		for _, w := range all {
			if s.Commit(&w.Try(f).Batch) != nil {
				missing = append(missing, w)
			}
		}
	}()
	<-done
	return missing, err
}

// CheckKernel returns an error that names what this kernel lacks for Services of
// the IP version, and the first Linux that has it.
func CheckKernel(v6 bool) error { return explain(plan.NewFamily(v6), plan.Features()) }

func explain(f *plan.Family, all []plan.Feature) error {
	missing, err := lacking(f, all)
	if err != nil || len(missing) == 0 {
		return err
	}
	var lines []string
	for _, w := range missing {
		lines = append(lines, fmt.Sprintf("%s (Linux %s or newer with %s)", w.What, w.Since, w.Option))
	}
	var u unix.Utsname
	_ = unix.Uname(&u) // cannot fail
	return fmt.Errorf("this kernel, Linux %s, lacks for table %s: %s", unix.ByteSliceToString(u.Release[:]), f, strings.Join(lines, ", "))
}

// explained adds to the error of a whole table why the kernel may have refused it.
func explained(f *plan.Family, err error) error {
	for _, code := range []error{unix.EOPNOTSUPP, unix.ENOENT, unix.EINVAL, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT} {
		if errors.Is(err, code) {
			return errors.Join(err, explain(f, plan.Features()))
		}
	}
	return err
}
