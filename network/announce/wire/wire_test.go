package wire

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

var (
	self  = HW{2, 0, 0, 0, 0, 1}
	other = HW{2, 0, 0, 0, 0, 2}
	four  = netip.MustParseAddr("192.0.2.9")
	six   = netip.MustParseAddr("2001:db8::9")
)

func bytes(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFrames holds the frames against the formats of the RFCs, written out.
func TestFrames(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"ARP probe (RFC 5227 2.1.1)":           {Question(four, self), "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 c0000209"},
		"ARP announcement (RFC 5227 2.3)":      {News(four, self), "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0000209 000000000000 c0000209"},
		"ARP reply (RFC 826)":                  {Answer(Heard{From: other, Asks: four, Asker: netip.MustParseAddr("192.0.2.1")}, self), "020000000002 020000000001 0806 0001 0800 06 04 0002 020000000001 c0000209 020000000002 c0000201"},
		"solicitation (RFC 4862 5.4.2)":        {Question(six, self), "3333ff000009 020000000001 86dd 60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff000009 8700 4cdd 00000000 20010db8000000000000000000000009"},
		"advertisement (RFC 4861 7.2.4)":       {Answer(Heard{From: other, Asks: six, Asker: netip.MustParseAddr("fe80::2")}, self), "020000000002 020000000001 86dd 60000000 0020 3a ff 20010db8000000000000000000000009 fe800000000000000000000000000002 8800 b99b 60000000 20010db8000000000000000000000009 0201 020000000001"},
		"to all (RFC 4861 7.2.6)":              {News(six, self), "333300000001 020000000001 86dd 60000000 0020 3a ff 20010db8000000000000000000000009 ff020000000000000000000000000001 8800 f91a 20000000 20010db8000000000000000000000009 0201 020000000001"},
		"to who asks without (RFC 4861 7.2.4)": {Answer(Heard{From: other, Asks: six, Asker: netip.IPv6Unspecified()}, self), "333300000001 020000000001 86dd 60000000 0020 3a ff 20010db8000000000000000000000009 ff020000000000000000000000000001 8800 f91a 20000000 20010db8000000000000000000000009 0201 020000000001"},
	} {
		if got := hex.EncodeToString(c.frame); got != hex.EncodeToString(bytes(t, c.want)) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, strings.Join(strings.Fields(c.want), ""))
		}
	}
}

func TestParse(t *testing.T) {
	none := netip.Addr{}
	for name, c := range map[string]struct {
		frame []byte
		want  Heard
	}{
		"a question":       {arp(broadcast, other, 1, netip.MustParseAddr("192.0.2.1"), HW{}, four), Heard{other, netip.MustParseAddr("192.0.2.1"), four, netip.MustParseAddr("192.0.2.1")}},
		"a probe":          {Question(four, other), Heard{other, none, four, netip.IPv4Unspecified()}},
		"an announcement":  {News(four, other), Heard{other, four, none, none}},
		"a reply":          {Answer(Heard{From: self, Asks: four, Asker: netip.MustParseAddr("192.0.2.1")}, other), Heard{other, four, none, none}},
		"a probe of IPv6":  {Question(six, other), Heard{other, none, six, netip.IPv6Unspecified()}},
		"a solicitation":   {neighbour(self, other, netip.MustParseAddr("fe80::2"), Group(six), solicit, 0, six, append([]byte{sourceHW, 1}, other[:]...)), Heard{other, netip.MustParseAddr("fe80::2"), six, netip.MustParseAddr("fe80::2")}},
		"an advertisement": {News(six, other), Heard{other, six, none, none}},
	} {
		if got, ok := Parse(c.frame); !ok || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, c.want)
		}
	}
	wrong := News(six, other)
	wrong[60]++
	far := Question(six, other)
	far[21] = 64
	for name, frame := range map[string][]byte{"nothing": nil, "a checksum": wrong, "from afar": far, "another type": ethernet(self, other, 0x0800)} {
		if h, ok := Parse(frame); ok {
			t.Errorf("%s is taken for %+v", name, h)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range [][]byte{Question(four, self), News(six, self), Question(six, self)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, ok := Parse(frame)
		if ok && h.Asks.IsValid() {
			if back, ok := Parse(Answer(h, self)); !ok || back.Tells != h.Asks || back.From != self {
				t.Errorf("the answer to %+v reads as %+v", h, back)
			}
		}
		for end := range frame {
			Parse(frame[:end])
		}
	})
}
