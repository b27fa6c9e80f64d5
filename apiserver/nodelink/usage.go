package nodelink

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"fairlead.dev/fairlead/api/usage"
)

// Usage asks the agent of a node what the node and its pods use.
func (l *Link) Usage(ctx context.Context, node string) (usage.Report, error) {
	var report usage.Report
	n, err := l.node(ctx, node)
	if err != nil {
		return report, err
	}
	at, err := agentURL(n)
	if err != nil {
		return report, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.JoinPath(usage.Path).String(), nil)
	if err != nil {
		return report, err
	}
	answer, err := l.transport.RoundTrip(r)
	if err != nil {
		return report, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return report, fmt.Errorf("node %s does not tell what it uses: %s", node, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&report); err != nil {
		return report, fmt.Errorf("node %s does not tell what it uses: %w", node, err)
	}
	return report, nil
}
