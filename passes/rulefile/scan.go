package rulefile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/onnxio/text"
)

// block is a part of the source and the line it begins on.
type block struct {
	text string
	line int
}

// scanner reads the outer form of a file: words, strings and blocks in braces.
type scanner struct {
	src  string
	at   int
	line int
}

func (s *scanner) errorf(format string, a ...any) error {
	return &text.Error{Pos: text.Pos{Line: int32(s.line), Col: 1}, Msg: fmt.Sprintf(format, a...)}
}

// blank passes over white space and comments.
func (s *scanner) blank() {
	for s.at < len(s.src) {
		switch c := s.src[s.at]; {
		case c == '\n':
			s.line++
			s.at++
		case c == ' ' || c == '\t' || c == '\r':
			s.at++
		case c == '#':
			for s.at < len(s.src) && s.src[s.at] != '\n' {
				s.at++
			}
		default:
			return
		}
	}
}

// word reads letters, digits and what numbers and names of rules are made of; "" where none begins.
func (s *scanner) word() string {
	s.blank()
	from := s.at
	for s.at < len(s.src) {
		c := s.src[s.at]
		if c != '-' && c != '_' && c != '.' && c != '+' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		s.at++
	}
	return s.src[from:s.at]
}

// quoted reads a string as Go writes it.
func (s *scanner) quoted() (string, error) {
	s.blank()
	q, err := strconv.QuotedPrefix(s.src[s.at:])
	if err != nil || !strings.HasPrefix(q, `"`) {
		return "", s.errorf("expected a description in double quotes")
	}
	s.at += len(q)
	s.line += strings.Count(q, "\n")
	return strconv.Unquote(q)
}

// braces reads a block. Braces in strings and comments do not count.
func (s *scanner) braces() (block, error) {
	s.blank()
	if s.at == len(s.src) || s.src[s.at] != '{' {
		return block{}, s.errorf("expected '{'")
	}
	begun := *s
	s.at++
	b := block{line: s.line}
	from, depth := s.at, 1
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case '\n':
			s.line++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				b.text = s.src[from:s.at]
				s.at++
				return b, nil
			}
		case '#':
			for s.at+1 < len(s.src) && s.src[s.at+1] != '\n' {
				s.at++
			}
		case '"':
			for s.at++; s.at < len(s.src) && s.src[s.at] != '"'; s.at++ {
				switch s.src[s.at] {
				case '\\':
					s.at++
				case '\n':
					s.line++
				}
			}
		}
		s.at++
	}
	return block{}, begun.errorf("this '{' is not closed")
}

// lines are the lines of a block that are not empty, without comments, with their numbers.
func (b block) lines() (r []block) {
	for i, l := range strings.Split(b.text, "\n") {
		if l = strings.TrimSpace(uncommented(l)); l != "" {
			r = append(r, block{l, b.line + i})
		}
	}
	return r
}

// uncommented cuts a comment off, but not inside a string.
func uncommented(l string) string {
	in := false
	for i := 0; i < len(l); i++ {
		switch l[i] {
		case '"':
			in = !in
		case '\\':
			i++
		case '#':
			if !in {
				return l[:i]
			}
		}
	}
	return l
}

// shift moves an error about a block to its place in the file.
func (b block) shift(err error) error {
	if e, ok := err.(*text.Error); ok && e.Pos.Line > 0 {
		moved := *e
		moved.Pos.Line += int32(b.line - 1)
		return &moved
	}
	return &text.Error{Pos: text.Pos{Line: int32(b.line), Col: 1}, Msg: strings.TrimPrefix(err.Error(), "pattern: ")}
}
