package apiserver

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// TestLogsTellFaultsOnly: what the libraries say of a client that went away is no fault; what they say of a panic is one, however
// the client fared.
func TestLogsTellFaultsOnly(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(demoted{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})})
	for _, quiet := range []string{
		"apiserver was unable to write a fallback application/json response: http: Handler timeout",
		"FinishRequest: post-timeout activity - time-elapsed: 28.7µs, panicked: false, err: context canceled, panic-reason: <nil>",
		"apiserver received an error that is not an metav1.Status: stream error: stream ID 3355; CANCEL",
	} {
		log.Error("Unhandled Error", "err", errors.New(quiet))
	}
	log.Info("started")
	if out.Len() > 0 {
		t.Errorf("told: %s", out.String())
	}
	log.Error("Unhandled Error", "err", "FinishRequest: post-timeout activity - time-elapsed: 3µs, panicked: true, err: context canceled, panic-reason: boom")
	log.Error("Unhandled Error", "err", errors.New("disk on fire"))
	if text := out.String(); !strings.Contains(text, "boom") || !strings.Contains(text, "disk on fire") {
		t.Errorf("not told: %s", text)
	}
}
