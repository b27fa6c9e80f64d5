package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// report is one line that a starting cluster tells the `up` that waits for it.
type report struct {
	Stage string        `json:"stage,omitempty"`
	Took  time.Duration `json:"took,omitempty"`
	Error string        `json:"error,omitempty"`
	Ready bool          `json:"ready,omitempty"`
}

// stages measures the steps of a start and reports each as it ends.
type stages struct {
	to      *json.Encoder
	last    time.Time
	onReady func() // nil: nobody else is to know
}

func newStages(to io.Writer) *stages { return &stages{to: json.NewEncoder(to), last: time.Now()} }

// done reports that a step ended now. A waiting `up` that went away is no reason to stop.
func (s *stages) done(stage string) {
	now := time.Now()
	s.to.Encode(report{Stage: stage, Took: now.Sub(s.last)})
	s.last = now
}

func (s *stages) ready() {
	s.to.Encode(report{Ready: true})
	if s.onReady != nil {
		s.onReady()
	}
}

func (s *stages) failed(err error) { s.to.Encode(report{Error: err.Error()}) }

// print shows a report to a person.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "  %-52s %6d ms\n", r.Stage, r.Took.Milliseconds())
}
