package nft

import "time"

// begin notes that there is something to do. A step that fails, or never ends, leaves the note.
func (p *Proxy) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stats.Pending.IsZero() {
		p.stats.Pending = now
	}
}
