package text

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/onnxopt/onnxopt/ir"
)

// isIdent reports whether s is an identifier of the syntax.
func isIdent(s string) bool {
	if s == "" || !letter(s[0]) {
		return false
	}
	for i := range len(s) {
		if !letter(s[i]) && !digit(s[i]) {
			return false
		}
	}
	return true
}

// quoteName spells a name: as it is if it is an identifier that no other word of the syntax hides.
func quoteName(s string) string {
	if isIdent(s) && !typeWord(s) {
		return s
	}
	return quote(s)
}

// quote spells a string: "..." with \" and \\ where ONNX's own parser reads that, b"..." in Go's notation for control
// characters and bytes that are not UTF-8.
func quote(s string) string {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\n' && s[i] != '\t' || s[i] == 0x7f {
			return "b" + strconv.Quote(s)
		}
	}
	if !utf8.ValidString(s) {
		return "b" + strconv.Quote(s)
	}
	if !strings.ContainsAny(s, `"\`) {
		return `"` + s + `"`
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s) + `"`
}

// typeString is a type in the syntax, without its denotations. A type that states nothing is "?".
func typeString(t *ir.Type) string {
	if t == nil {
		return "?"
	}
	switch t.Kind {
	case ir.KindTensor:
		return t.Elem.String() + shapeString(t.Shape)
	case ir.KindSparse:
		return "sparse_tensor(" + t.Elem.String() + shapeString(t.Shape) + ")"
	case ir.KindSequence:
		return "seq(" + typeString(t.Of) + ")"
	case ir.KindOptional:
		return "optional(" + typeString(t.Of) + ")"
	case ir.KindMap:
		return "map(" + t.Elem.String() + ", " + typeString(t.Of) + ")"
	case ir.KindOpaque:
		switch {
		case t.Domain != "":
			return "opaque(" + quoteDomain(t.Domain) + "," + optionalName(t.Name) + ")"
		case t.Name != "":
			return "opaque(" + quoteName(t.Name) + ")"
		}
		return "opaque()"
	}
	return "?"
}

func optionalName(s string) string {
	if s == "" {
		return ""
	}
	return quoteName(s)
}

func shapeString(s ir.Shape) string {
	if s == nil {
		return "[]"
	}
	if len(s) == 0 {
		return ""
	}
	b := []byte{'['}
	for i, d := range s {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case d.Param != "":
			if isIdent(d.Param) {
				b = append(b, d.Param...)
			} else {
				b = append(b, quote(d.Param)...)
			}
		case d.Size == -1:
			b = append(b, '?')
		default:
			b = strconv.AppendInt(b, d.Size, 10)
		}
	}
	return string(append(b, ']'))
}

// quoteDomain spells a domain: bare if it is a list of identifiers with dots between them.
func quoteDomain(s string) string {
	for part := range strings.SplitSeq(s, ".") {
		if !isIdent(part) {
			return quote(s)
		}
	}
	return s
}

// opString spells an operator.
func opString(op ir.OpID) string {
	s := op.Type
	if !isIdent(s) {
		s = quote(s)
	}
	if op.Domain != "" {
		s = quoteDomain(op.Domain) + "." + s
	}
	if op.Overload != "" {
		if isIdent(op.Overload) {
			return s + ":" + op.Overload
		}
		s += ":" + quote(op.Overload)
	}
	return s
}
