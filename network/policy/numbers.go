package policy

import "slices"

// numbers gives each text a number that it keeps as long as it is used: what stays the same is not written again. Numbers begin at 1.
type numbers struct {
	of   map[string]uint32
	free []uint32 // given back, smallest last
	next uint32
}

// number is the text's.
func (n *numbers) number(text string) uint32 {
	if number, ok := n.of[text]; ok {
		return number
	}
	if n.of == nil {
		n.of = map[string]uint32{}
	}
	number := n.next + 1
	if last := len(n.free) - 1; last >= 0 {
		number, n.free = n.free[last], n.free[:last]
	} else {
		n.next++
	}
	n.of[text] = number
	return number
}

// keep takes back the numbers of all texts but those in use.
func (n *numbers) keep(used map[string]bool) {
	was := len(n.free)
	for text, number := range n.of {
		if !used[text] {
			n.free = append(n.free, number)
			delete(n.of, text)
		}
	}
	if len(n.free) > was {
		slices.SortFunc(n.free, func(a, b uint32) int { return int(b) - int(a) })
	}
}
