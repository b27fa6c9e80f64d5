package why

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// most is how many names a message lists before it counts.
const most = 3

// several lists the first names and counts the others: "a, b and c", "a, b, c and 2 more".
func several(names []string) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// count is a number with its noun, whose plural takes an s, or es.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "ss") {
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// labels prints a selector.
func labels(selector map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		pairs = append(pairs, key+"="+selector[key])
	}
	return strings.Join(pairs, ",")
}

// portName prints a port as in: http (8080/TCP), or 8080/TCP when it has no name.
func portName(name string, number int32, p corev1.Protocol) string {
	if name == "" {
		return fmt.Sprintf("%d/%s", number, api.Protocol(p))
	}
	return fmt.Sprintf("%s (%d/%s)", name, number, api.Protocol(p))
}

// unique sorts names and drops those that are there already.
func unique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
