package text

import "strings"

// Looks reports whether b is the beginning of a model in this syntax rather than in protobuf: a header, or a graph with a
// signature. It looks at the first few hundred bytes only.
func Looks(b []byte) bool {
	const prefix = 512
	cut := len(b) > prefix
	b = b[:min(len(b), prefix)]
	l := NewLexer(b)
	l.space()
	for i := 0; i < len(l.src); i++ {
		if c := l.src[i]; c < ' ' && !strings.ContainsRune("\t\n\v\f\r", rune(c)) {
			return false
		}
	}
	if l.off == len(l.src) {
		return cut && strings.Contains(l.src, "#")
	}
	first := l.next()
	switch second := l.next(); {
	case first.Is("<"):
		return second.Kind == Ident && l.next().Is(":")
	case first.Kind == Ident || first.Kind == String:
		return second.Is("(") || second.Is("=>")
	}
	return false
}
