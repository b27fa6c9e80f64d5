package ingress

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds of an expression: its own length in bytes, and that of the program it becomes, in instructions. A request is matched in time
// proportional to both its path and the program.
const (
	longestExpression = 1024
	largestProgram    = 1000
)

// compile makes an expression, or says what is wrong with it. RE2 has no look-ahead, look-behind and references back.
func compile(text string) (*regexp.Regexp, string) {
	if len(text) > longestExpression {
		return nil, fmt.Sprintf("is an expression of more than %d bytes", longestExpression)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Sprintf("is no expression of RE2: %v", err)
	}
	if program(tree) > largestProgram {
		return nil, fmt.Sprintf("is an expression that counts so far that it would become a program of more than %d steps", largestProgram)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Sprintf("is no expression of RE2: %v", err)
	}
	return re, ""
}

// program is about how many instructions an expression becomes; what is above largestProgram is not told apart.
func program(re *syntax.Regexp) int {
	size := 1
	if re.Op == syntax.OpLiteral {
		size = len(re.Rune)
	}
	for _, sub := range re.Sub {
		size = min(size+program(sub), largestProgram+1)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, largestProgram+1)
}
