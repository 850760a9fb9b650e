package rewrite

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// rootNames are the operators that the root of a pattern may be: what stands behind the "=" of its last node. They are found without
// reading the pattern, so that one that cannot match anywhere in a model is not read at all.
func rootNames(pattern string) []ir.OpID {
	depth, at := 0, -1
	quoted := false
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
			at = i
		}
	}
	rest := strings.TrimSpace(pattern[at+1:])
	if end := strings.IndexAny(rest, "<("); end >= 0 {
		rest = rest[:end]
	}
	var r []ir.OpID
	for _, name := range strings.Split(strings.Trim(strings.TrimSpace(rest), "{}"), ",") {
		op := ir.OpID{Type: strings.TrimSpace(name)}
		if dot := strings.LastIndexByte(op.Type, '.'); dot >= 0 {
			op.Domain, op.Type = ir.Domain(op.Type[:dot]), op.Type[dot+1:]
		}
		r = append(r, op)
	}
	return r
}
