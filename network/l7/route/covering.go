package route

import "strings"

// Covering finds the first of a list of host names, as Listeners and Streams have them, that covers a name, however many there are.
// Make one with NewCovering.
type Covering struct {
	exact map[string]int
	wild  map[string]int // by what follows the "*"
	any   int            // none: there is none
}

// NewCovering returns a Covering of n host names.
func NewCovering(n int, hostname func(i int) string) *Covering {
	c := &Covering{exact: map[string]int{}, wild: map[string]int{}, any: none}
	for i := n - 1; i >= 0; i-- { // of two alike the first
		switch name := hostname(i); {
		case name == "":
			c.any = i
		case len(name) > 1 && name[0] == '*':
			c.wild[name[1:]] = i
		default:
			c.exact[name] = i
		}
	}
	return c
}

// Find returns the place of the first host name that covers a host, which is in lower case; -1 if none does.
func (c *Covering) Find(host string) int {
	first := c.any
	if i, is := c.exact[host]; is {
		first = min(first, i)
	}
	for at := strings.IndexByte(host, '.'); at >= 0 && len(c.wild) > 0; {
		if i, is := c.wild[host[at:]]; is && at > 0 {
			first = min(first, i)
		}
		next := strings.IndexByte(host[at+1:], '.')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	if first == none {
		return -1
	}
	return first
}
