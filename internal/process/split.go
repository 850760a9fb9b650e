// Package process runs other programs within bounds.
package process

import (
	"errors"
	"strings"
)

// Split splits a command line at spaces. Quotes of either kind hold a word together, and a backslash takes the next
// character as it is, but for what stands in single quotes.
func Split(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	open, inside, escaped := rune(0), false, false
	for _, c := range s {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && open != '\'':
			inside, escaped = true, true
		case open != 0 && c == open:
			open = 0
		case open == 0 && (c == '\'' || c == '"'):
			open, inside = c, true
		case open == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(c)
			inside = true
		}
	}
	if open != 0 || escaped {
		return nil, errors.New("a quote is not closed")
	}
	if inside {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("it has no words")
	}
	return words, nil
}

// ErrNoLimit says that the memory of another program cannot be bounded on this system.
var ErrNoLimit = errors.New("the memory of another program can be bounded on Linux only")
