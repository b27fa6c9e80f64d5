package join

import (
	"context"
	"log/slog"
	"time"
)

// lookAgain is how often a node looks whether its certificates are due. They have months left by then.
const lookAgain = time.Hour

// Keep renews the certificates of a node long before they end, until ctx ends. A server that does not answer, or that refuses,
// is asked again an hour later.
func (m *Member) Keep(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if m.Client.Due() || m.Serving.Due() {
			if err := m.Renew(ctx); err != nil && ctx.Err() == nil {
				log.Warn("the certificates cannot be renewed, trying again in an hour", "err", err, "end", m.Client.Current().Leaf.NotAfter)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
