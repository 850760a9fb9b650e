package c

import (
	"fmt"
	"strings"
	"unicode"
)

// identifier makes a name in C of any text.
func identifier(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= '0' && c <= '9' && b.Len() > 0:
			b.WriteByte(c)
		case c >= '0' && c <= '9':
			b.WriteString("m" + string(c))
		default:
			b.WriteByte('_')
		}
	}
	r := b.String()
	if r == "" || strings.Trim(r, "_") == "" || keywords()[r] {
		r = "m_" + strings.Trim(r, "_")
	}
	return strings.TrimLeft(r, "_")
}

func keywords() map[string]bool {
	r := map[string]bool{}
	for _, k := range strings.Fields(`auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short signed
		sizeof static struct switch typedef union unsigned void volatile while main bool true false asm class new delete this template namespace operator private public
		protected virtual try catch throw using typename and or not xor`) {
		r[k] = true
	}
	return r
}

// comment is a text that may stand in a comment.
func comment(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 32 || r == 127 || r == '\\' || r == '?' {
			return ' '
		}
		return r
	}, s)
	return strings.ReplaceAll(strings.ReplaceAll(s, "*/", "* /"), "/*", "/ *")
}

// usable says why a file cannot have the name: the source, the makefile and that of CMake hold it, and make, CMake, the shell and the compiler
// each take some characters for their own.
func usable(name string) error {
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.+@,~ ", r) {
			return fmt.Errorf("the name of the file, %q, has the character %q, which make or a shell would take for its own; choose another", name, r)
		}
	}
	return nil
}

// spaced is a name in a makefile, for make and for the shell.
func spaced(name string) string { return strings.ReplaceAll(name, " ", `\ `) }
