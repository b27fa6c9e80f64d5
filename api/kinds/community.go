package kinds

import (
	"fmt"
	"strconv"
	"strings"
)

// Community is a mark on a route: two numbers of 16 bits (RFC 1997) or, large, three of 32 bits (RFC 8092).
type Community []uint32

// ParseCommunity reads a community as people write it, as in 64512:100 or 64512:1:2.
func ParseCommunity(text string) (Community, error) {
	parts := strings.Split(text, ":")
	bits := map[int]int{2: 16, 3: 32}[len(parts)]
	var c Community
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || bits == 0 || n>>bits != 0 {
			return nil, fmt.Errorf("must be two numbers up to 65535 or three up to 4294967295, as in 64512:100 or 64512:1:2")
		}
		c = append(c, uint32(n))
	}
	return c, nil
}
