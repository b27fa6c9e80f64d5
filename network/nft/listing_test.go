package nft

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestKernelHasWhatTheBookMeans writes random Services, whole and by differences, and
// compares what the nft command lists with what the book wants.
func TestKernelHasWhatTheBookMeans(t *testing.T) {
	ns := netlab.New(t, "listed")
	var s *socket
	var err error
	ns.Do(func() { s, err = dial() })
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	first := rand.Uint64()
	for n := range uint64(12) {
		i := invent(first+n, n%2 == 1)
		k := &kernel{socket: s, layout: i.layout}
		for step := range 4 {
			if err := i.step(); err != nil {
				t.Fatal(err)
			}
			if d := i.book.take(); step == 0 || !k.fits(i.book.size()) {
				err = k.rewrite(i.book, false)
			} else {
				err = k.update(i.book, d)
			}
			if err != nil {
				t.Fatalf("seed %d step %d: %v", first+n, step, err)
			}
			got, want := listed(t, ns, i.layout.family), meant(i.book, i.node.IPv6)
			if !maps.Equal(got, want) {
				t.Fatalf("seed %d step %d: %s", first+n, step, unlike(got, want))
			}
		}
	}
}

// listed is what the nft command says of the maps, as text like that of meant.
func listed(t *testing.T, ns *netlab.Netns, f *family) map[string]string {
	t.Helper()
	var listing struct {
		Nftables []struct{ Map, Set *listedMap }
	}
	text, err := ns.Command("nft", "-j", "list", "table", f.String(), tableName)
	if err == nil {
		text = text[max(0, strings.Index(text, `{"nftables"`)):] // it may warn before of statements that it has no JSON for
		err = json.Unmarshal([]byte(text), &listing)
	}
	if err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
	all := map[string]string{}
	for _, item := range listing.Nftables {
		m, isMap := item.Set, false
		if item.Map != nil {
			m, isMap = item.Map, true
		}
		if m == nil || m.Name == dispatchMap || m.Name == affinityMap || m.Name == answeringSet {
			continue
		}
		for _, e := range m.Elem {
			value := json.RawMessage(`""`)
			if isMap {
				var pair [2]json.RawMessage
				if err := json.Unmarshal(e, &pair); err != nil {
					t.Fatalf("%v: %s", err, e)
				}
				e, value = pair[0], pair[1]
			}
			words, comment := spelled(t, e)
			v, _ := spelled(t, value)
			key := strings.Join(words, " ")
			if m.Name == allowed.String() {
				key = span(strings.Join(words[:3], " "), words[3])
			}
			all[m.Name+": "+key] = strings.Join(v, " ") + " #" + comment
		}
	}
	return all
}

type listedMap struct {
	Name string
	Elem []json.RawMessage
}

// spelled returns the parts of a key or value, and the element's comment.
func spelled(t *testing.T, raw json.RawMessage) (words []string, comment string) {
	t.Helper()
	var object struct {
		Elem *struct {
			Val     json.RawMessage
			Comment string
		}
		Concat []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
	}
	if raw[0] != '{' {
		return []string{strings.Trim(string(raw), `"`)}, ""
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	switch {
	case object.Elem != nil:
		words, _ = spelled(t, object.Elem.Val)
		return words, object.Elem.Comment
	case object.Prefix != nil:
		return []string{fmt.Sprintf("%s/%d", object.Prefix.Addr, object.Prefix.Len)}, ""
	}
	for _, part := range object.Concat {
		w, _ := spelled(t, part)
		words = append(words, w...)
	}
	return words, ""
}

// span is how meant writes a range of clients.
func span(frontend, clients string) string {
	p, err := netip.ParsePrefix(clients)
	if err != nil {
		a := netip.MustParseAddr(clients)
		p = netip.PrefixFrom(a, a.BitLen())
	}
	last := p.Addr().AsSlice()
	for i := range last {
		for bit := range 8 {
			if i*8+bit >= p.Bits() {
				last[i] |= 128 >> bit
			}
		}
	}
	to, _ := netip.AddrFromSlice(last)
	return fmt.Sprintf("%s %s-%s %s", frontend, p.Addr(), frontend, to)
}
