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
		case c >= 'a' && c <= 'z', c == ' ', c == ',':
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<' || c == '(' || c == '{' || c == '[':
			depth++
		case c == '>' || c == ')' || c == '}' || c == ']':
			depth--
		case c == '=' && depth == 0:
			s := pattern[i+1:]
			if end := strings.IndexAny(s, "<("); end >= 0 {
				s = s[:end]
			}
			nodes = append(nodes, operatorList(s))
		}
	}
	return nodes
}

// operatorList reads operators: one, or several in braces, or as many as commas join.
func operatorList(s string) (r []ir.OpID) {
	s = strings.Trim(strings.TrimSpace(s), "{}")
	r = make([]ir.OpID, 0, 1+strings.Count(s, ","))
	for name := range strings.SplitSeq(s, ",") {
		op := ir.OpID{Type: strings.TrimSpace(name)}
		if dot := strings.LastIndexByte(op.Type, '.'); dot >= 0 {
			op.Domain, op.Type = ir.Domain(op.Type[:dot]), op.Type[dot+1:]
		}
		r = append(r, op)
	}
	return r
}
