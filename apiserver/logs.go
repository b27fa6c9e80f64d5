package apiserver

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"k8s.io/klog/v2"
)

// RedirectLogs sends what the Kubernetes libraries log, which know only klog, to log. It is process-wide,
// so it belongs in main and in test set-up. Their info lines are debug lines here, and so are the
// complaints about what is no fault: clients still connected at a stop, requests whose client went away, and streams (kubectl
// exec, attach, port-forward) that end because their client has what it wanted. A panic is told whatever it says.
func RedirectLogs(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(demoted{log.Handler()}))
}

// demoted lowers info lines to debug and leaves warnings and errors as they are.
type demoted struct{ slog.Handler }

// Enabled is part of slog.Handler.
func (d demoted) Enabled(ctx context.Context, l slog.Level) bool {
	return d.Handler.Enabled(ctx, lowered(l, ""))
}

// Handle is part of slog.Handler.
func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lowered(r.Level, text(r))
	if !d.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return d.Handler.Handle(ctx, r)
}

// text is a record's message with its error: the libraries report many things by one message, "Unhandled Error".
func text(r slog.Record) string {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text += ": " + a.Value.String()
		}
		return true
	})
	return text
}

// WithAttrs is part of slog.Handler.
func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}

// WithGroup is part of slog.Handler.
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

// harmless are parts of complaints about what is no fault. Most come from a client that went away before it was answered, which
// would be told in five lines otherwise.
func harmless() []string {
	return []string{
		"Failed to shutdown server: context deadline exceeded", "Error on socket receive",
		"http: Handler timeout", "body closed by handler", "Timeout or abort while handling", "Post-timeout activity", "post-timeout activity", ": context canceled", "; CANCEL", "io: read/write on closed pipe",
	}
}

func lowered(l slog.Level, message string) slog.Level {
	if strings.Contains(message, "panicked: true") {
		return l
	}
	if l < slog.LevelWarn || slices.ContainsFunc(harmless(), func(known string) bool { return strings.Contains(message, known) }) {
		return min(l, slog.LevelDebug)
	}
	return l
}
