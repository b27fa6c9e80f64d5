package cluster

import (
	"context"
	"encoding/json"
	"errors"
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

// What a stage of a start may take on a machine that is not in trouble is a tenth of this.
const (
	apiBound  = 45 * time.Second // a store of a gigabyte is read from disk
	nodeBound = 20 * time.Second
)

// await waits until something has been reached. It ends early when a part of the program fails, with that, and when the bound
// is over, with what is missing. Without a bound it waits for ever.
func await(ctx context.Context, stage string, reached <-chan struct{}, bound time.Duration, missing func() string) error {
	var over <-chan time.Time
	if bound > 0 {
		timer := time.NewTimer(bound)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-over:
		return fmt.Errorf("%s: not ready after %s: %s", stage, bound, missing())
	}
}

// within runs a stage that may hang.
func within(ctx context.Context, stage string, bound time.Duration, run func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = run(ctx)
	}()
	if late := await(ctx, stage, ended, bound, func() string { return "it neither works nor fails" }); late != nil {
		return late
	}
	return err
}

// follow calls did for each stage that a starting process reports, until it is ready, fails, or its reports end.
func follow(reports io.Reader, did func(report)) error {
	lines := json.NewDecoder(reports)
	for {
		var r report
		if err := lines.Decode(&r); err != nil {
			return errEnded
		}
		switch {
		case r.Error != "":
			return errors.New(r.Error)
		case r.Ready:
			return nil
		}
		did(r)
	}
}

var errEnded = errors.New("it ended before it was ready")
