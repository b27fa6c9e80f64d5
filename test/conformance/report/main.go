// Command report reads what runs of Kubernetes' end-to-end suite reported and writes docs/conformance.md of it: how many conformance tests of each group
// pass, and why the others do not. It
// fails when one has failed whose cause is not known.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	table := flag.String("causes", "", "file with known causes")
	version := flag.String("version", "", "version of the suite")
	out := flag.String("o", "", "file to write; by default the page is printed")
	flag.Parse()
	if err := run(*table, *version, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// run reads reports and writes the page about all of them.
func run(table, version, out string, reports []string) error {
	text, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	known, err := causes(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	var runs [][]test
	for _, path := range reports {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		tests, err := parse(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		runs = append(runs, tests)
	}
	all := conformance(runs...)
	if len(all) == 0 {
		return fmt.Errorf("no conformance test is in %v", reports)
	}
	page := document(all, known, version)
	if out == "" {
		_, err = os.Stdout.WriteString(page)
	} else {
		err = os.WriteFile(out, []byte(page), 0o644)
	}
	if err == nil {
		err = unexplained(all, known)
	}
	return err
}
