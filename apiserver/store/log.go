package store

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap/zapcore"
)

// bridge hands etcd's log lines to slog. Below warnings nothing passes: etcd tells its whole configuration
// at info level on every start. Panics and fatals pass as errors; the caller of etcd turns them into one.
type bridge struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// stale reports messages that a healthy single member without a network writes at every first start.
func stale(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
		"Failed to detect schema version",
		"failed to update storage version",
		"failed to update cluster version":
		return true
	}
	return strings.Contains(message, "cannot campaign at term")
}

// Enabled is part of zapcore.Core.
func (b bridge) Enabled(l zapcore.Level) bool {
	return l >= zapcore.WarnLevel && b.log.Enabled(context.Background(), level(l))
}

// With is part of zapcore.Core.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{log: b.log, fields: append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

// Check is part of zapcore.Core.
func (b bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) && !stale(e.Message) {
		return c.AddCore(e, b)
	}
	return c
}

// Write is part of zapcore.Core.
func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range b.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	b.log.LogAttrs(context.Background(), level(e.Level), e.Message, attrs...)
	return nil
}

// Sync is part of zapcore.Core.
func (b bridge) Sync() error { return nil }

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.DPanicLevel:
		return slog.LevelDebug // the panic itself carries the message
	case l == zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
