package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// hearing is the logger of a session's GoBGP server: the only place where GoBGP says why a connection failed. It writes nothing;
// from the few messages that tell a reason it keeps the reason.
type hearing struct {
	peer Peer
	tell func(reason string)
}

// Enabled takes all levels: why a router does not answer is said at the level of debugging.
func (h *hearing) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs and WithGroup change nothing that hearing reads.
func (h *hearing) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup changes nothing that hearing reads.
func (h *hearing) WithGroup(string) slog.Handler { return h }

// Handle keeps the reason that a message tells, if it tells one.
func (h *hearing) Handle(_ context.Context, r slog.Record) error {
	if reason := h.reason(r); reason != "" {
		h.tell(reason)
	}
	return nil
}

// reason is a message of GoBGP in words for a person, empty if it is about something else.
func (h *hearing) reason(r slog.Record) string {
	at := h.peer.At()
	switch r.Message {
	case "failed to connect":
		return h.unconnected(attr(r, "Error").String())
	case "outgoing connection IO error":
		return h.unwelcome()
	case "state changed": // the router answered with something else than is due: what it was, GoBGP keeps for itself
		if attr(r, "new").String() == bgp.BGP_FSM_IDLE.String() && attr(r, "old").String() != bgp.BGP_FSM_ESTABLISHED.String() {
			return h.unwelcome()
		}
	case "received notification":
		return fmt.Sprintf("router %s ended the session: %s", at, notification(r))
	case "sent notification":
		if code := attr(r, "Code").Int64(); code == bgp.BGP_ERROR_FSM_ERROR {
			return h.unwelcome()
		} else if code == bgp.BGP_ERROR_OPEN_MESSAGE_ERROR && attr(r, "Subcode").Int64() == bgp.BGP_ERROR_SUB_BAD_PEER_AS {
			return fmt.Sprintf("router %s is in another AS than %d, which is expected of it", at, h.peer.ASN)
		}
		return fmt.Sprintf("this node ended the session with router %s: %s", at, notification(r))
	case "hold timer expired":
		return fmt.Sprintf("router %s was silent for longer than the hold time", at)
	case "Session will be reset due to malformed BGP Header", "Session will be reset due to malformed BGP message",
		"Session will be reset due to malformed BGP update message":
		return fmt.Sprintf("router %s sent what is not BGP: %s", at, attr(r, "Error"))
	}
	return ""
}

// unwelcome says that the router ended the connection before there was a session.
func (h *hearing) unwelcome() string {
	return fmt.Sprintf("router %s refuses the session: does it know this node's address, and expect it in AS %d?", h.peer.At(), h.peer.LocalASN)
}

// unconnected says why there is no connection.
func (h *hearing) unconnected(err string) string {
	at := h.peer.At()
	switch {
	case strings.Contains(err, "i/o timeout") && h.peer.Password != "":
		return fmt.Sprintf("router %s does not answer; it does not either when its password is another one or none", at)
	case strings.Contains(err, "i/o timeout"):
		return fmt.Sprintf("router %s does not answer; it does not either when it wants a password", at)
	case strings.Contains(err, "connection refused"):
		return fmt.Sprintf("nothing listens on %s", at)
	}
	return fmt.Sprintf("router %s cannot be reached: %s", at, err)
}

func notification(r slog.Record) string {
	return bgp.NewNotificationErrorCode(uint8(attr(r, "Code").Int64()), uint8(attr(r, "Subcode").Int64())).String()
}

// attr is the value of a record's attribute, of no kind if it has none of that name.
func attr(r slog.Record, key string) (v slog.Value) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v = a.Value
		}
		return a.Key != key
	})
	return v
}
