// Package script writes texts into scripts, so that no name of a model or file is taken for anything but a text.
package script

import (
	"fmt"
	"strings"
)

// Shell is s as one word of a POSIX shell.
func Shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Python is s as a string literal of Python: nothing in it ends the literal, and the script stays ASCII.
func Python(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r > 0x7e:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// PythonList is a list of string literals.
func PythonList(l []string) string {
	r := make([]string, len(l))
	for i, s := range l {
		r[i] = Python(s)
	}
	return "[" + strings.Join(r, ", ") + "]"
}

// Comment is s on one line, without control characters, for what stands in a comment.
func Comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
