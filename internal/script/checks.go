package script

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// verdict says what is wrong with the last program's output by one of the checks, empty if nothing.
func (s *scene) verdict(ts *testscript.TestScript, neg bool, args []string) string {
	wrong := ""
	switch args[0] {
	case "stdout", "stderr":
		if len(args) != 2 {
			return "usage: stdout REGEXP"
		}
		pattern, err := regexp.Compile("(?m)" + args[1])
		if err != nil {
			return err.Error()
		}
		text := s.last.stdout
		if args[0] == "stderr" {
			text = s.last.stderr
		}
		if !pattern.MatchString(text) {
			wrong = fmt.Sprintf("no match for %q", args[1])
		}
	case "like":
		if len(args) != 2 {
			return "usage: like FILE"
		}
		wrong = like(s.last.stdout, ts.ReadFile(args[1]))
	case "distinct":
		wrong = s.distinct(args)
	}
	if neg && wrong == "" {
		return "it holds, and should not"
	}
	if neg {
		return ""
	}
	return wrong
}

func (s *scene) distinct(args []string) string {
	if len(args) != 3 {
		return "usage: distinct N REGEXP"
	}
	want, err := strconv.Atoi(args[1])
	if err != nil {
		return err.Error()
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	if err != nil {
		return err.Error()
	}
	seen := map[string]bool{}
	for _, m := range pattern.FindAllStringSubmatch(s.last.stdout, -1) {
		seen[m[len(m)-1]] = true
	}
	if len(seen) != want {
		return fmt.Sprintf("%d different matches of %q, want %d", len(seen), args[2], want)
	}
	return ""
}

// check is the command that judges the last output once.
func check(name string) func(*scene, *testscript.TestScript, bool, []string) {
	return func(s *scene, ts *testscript.TestScript, neg bool, args []string) {
		if wrong := s.verdict(ts, neg, append([]string{name}, args...)); wrong != "" {
			ts.Fatalf("%s: %s\n%s", strings.Join(s.last.args, " "), wrong, s.last.stdout)
		}
		s.show(ts)
	}
}

// star is the command that repeats the rest of its line until it holds.
func (s *scene) star(ts *testscript.TestScript, neg bool, args []string) {
	wait := patience
	if len(args) > 0 {
		if d, err := time.ParseDuration(args[0]); err == nil {
			wait, args = d, args[1:]
		}
	}
	if len(args) > 0 && args[0] == "!" {
		neg, args = !neg, args[1:]
	}
	if len(args) == 0 {
		ts.Fatalf("usage: * [DURATION] [!] CHECK or PROGRAM")
	}
	dir := ts.MkAbs(".")
	checks := slices.Contains([]string{"stdout", "stderr", "like", "distinct"}, args[0])
	if checks && s.last.args == nil {
		ts.Fatalf("no program has run yet")
	}
	wrong := ""
	for end := time.Now().Add(wait); ; time.Sleep(interval) {
		if checks {
			s.play(dir, s.last.fails, s.last.args)
		} else {
			s.play(dir, neg, args)
		}
		wrong = s.last.wrong()
		if wrong == "" && checks {
			wrong = s.verdict(ts, neg, args)
		}
		if wrong == "" || time.Now().After(end) {
			break
		}
	}
	s.show(ts)
	if wrong != "" {
		ts.Fatalf("not within %s: %s: %s", wait, strings.Join(s.last.args, " "), wrong)
	}
}
