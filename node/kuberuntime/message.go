package kuberuntime

import (
	"io"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/spec"
)

// Limits of a termination message (kubelet).
const (
	maxMessage      = 4096
	maxMessageLog   = 2048
	maxMessageLines = 80
)

// terminationMessage is what an ended container has left in its message file or, when its policy says so and it has failed, the
// end of its log.
func terminationMessage(s *runtimeapi.ContainerStatus) string {
	if text := tail(s.Annotations[spec.AnnotationMessagePath], maxMessage); text != "" {
		return text
	}
	policy := corev1.TerminationMessagePolicy(s.Annotations[spec.AnnotationMessagePolicy])
	if policy != corev1.TerminationMessageFallbackToLogsOnError || s.ExitCode == 0 || s.LogPath == "" {
		return ""
	}
	lines := strings.Split(strings.TrimSuffix(logText(s.LogPath), "\n"), "\n")
	text := strings.Join(lines[max(0, len(lines)-maxMessageLines):], "\n")
	return text[max(0, len(text)-maxMessageLog):]
}

// tail reads the end of a file.
func tail(path string, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return ""
	}
	return string(text)
}

// logText is the end of a CRI log file without its time stamps.
func logText(path string) string {
	var b strings.Builder
	for line := range strings.Lines(tail(path, 64<<10)) {
		if parts := strings.SplitN(line, " ", 4); len(parts) == 4 {
			io.WriteString(&b, parts[3])
		}
	}
	return b.String()
}
