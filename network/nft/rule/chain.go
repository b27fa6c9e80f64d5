package rule

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Chain is a chain of the table; a base chain has a kind and a hook.
type Chain struct {
	Name     string
	Kind     string // "nat" or "filter"; empty for a chain that is only jumped to
	Hook     uint32
	Priority int32
	Rules    []Rule
}

// Block writes a map, set or chain of a table as nft does.
func Block(b *strings.Builder, kind, name string, lines ...string) {
	fmt.Fprintf(b, "\t%s %s {\n", kind, name)
	for _, l := range lines {
		fmt.Fprintf(b, "\t\t%s\n", l)
	}
	b.WriteString("\t}\n\n")
}

// Elements are the lines of a list of elements.
func Elements(all []string) []string {
	if len(all) == 0 {
		return nil
	}
	return []string{"elements = { " + strings.Join(all, ",\n\t\t\t     ") + " }"}
}

// Lines is the chain as nft writes it, without its name.
func (c Chain) Lines(f *Family) []string {
	var lines []string
	if c.Kind != "" {
		lines = append(lines, fmt.Sprintf("type %s hook %s priority %s; policy accept;", c.Kind, hookNames[c.Hook], priorityName(c)))
	}
	for _, r := range c.Rules {
		lines = append(lines, r.Text(f))
	}
	return lines
}

var hookNames = map[uint32]string{unix.NF_INET_PRE_ROUTING: "prerouting", unix.NF_INET_LOCAL_IN: "input", unix.NF_INET_FORWARD: "forward",
	unix.NF_INET_LOCAL_OUT: "output", unix.NF_INET_POST_ROUTING: "postrouting"}

// priorityName is how nft writes a priority, which depends on the hook.
func priorityName(c Chain) string {
	switch {
	case c.Priority == -300:
		return "raw"
	case c.Priority == 0:
		return "filter"
	case c.Priority == -100 && c.Hook == unix.NF_INET_PRE_ROUTING:
		return "dstnat"
	case c.Priority == 100 && c.Hook == unix.NF_INET_POST_ROUTING:
		return "srcnat"
	}
	return fmt.Sprint(c.Priority)
}
