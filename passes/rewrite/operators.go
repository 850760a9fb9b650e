package rewrite

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// operators are the operators that each node of a pattern may be, the root's last: what stands behind an "=" outside all brackets. They are
// found without reading the pattern, so that one that cannot match anywhere in a model is not read at all.
func operators(pattern string) (nodes [][]ir.OpID) {
	depth, quoted := 0, false
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<' || c == '(' || c == '{' || c == '[':
			depth++
		case c == '>' || c == ')' || c == '}' || c == ']':
			depth--
		case c == '=' && depth == 0:
			nodes = append(nodes, operatorList(pattern[i+1:]))
		}
	}
	return nodes
}

// operatorList reads the operators with which s begins: one, or several in braces.
func operatorList(s string) (r []ir.OpID) {
	if end := strings.IndexAny(s, "<("); end >= 0 {
		s = s[:end]
	}
	for name := range strings.SplitSeq(strings.Trim(strings.TrimSpace(s), "{}"), ",") {
		op := ir.OpID{Type: strings.TrimSpace(name)}
		if dot := strings.LastIndexByte(op.Type, '.'); dot >= 0 {
			op.Domain, op.Type = ir.Domain(op.Type[:dot]), op.Type[dot+1:]
		}
		r = append(r, op)
	}
	return r
}
