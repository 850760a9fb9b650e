package passes

import (
	"fmt"
	"strings"
)

// KeyValue is an option as it is given in a pipeline.
type KeyValue struct{ Key, Value string }

// call is the syntax of a step: name{key=value}(nested).
type call struct {
	name   string
	given  []KeyValue
	nested []call
	parens bool
	at     int
}

// SyntaxError is an error in the text of a pipeline. Column counts bytes from 1.
type SyntaxError struct {
	Text   string
	Column int
	Detail string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pipeline, column %d: %s", e.Column, e.Detail)
}

// maxDepth bounds the nesting of pipelines, aliases included.
const maxDepth = 32

type scanner struct {
	text string
	pos  int
}

func parseCalls(text string) ([]call, error) {
	s := &scanner{text: text}
	s.space()
	if s.pos == len(text) {
		return nil, nil
	}
	calls, err := s.list(0)
	if err == nil && s.pos < len(text) {
		err = s.errorf("%q is not expected here", text[s.pos:s.pos+1])
	}
	return calls, err
}

func (s *scanner) errorf(format string, a ...any) error {
	return &SyntaxError{s.text, s.pos + 1, fmt.Sprintf(format, a...)}
}

func (s *scanner) space() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.pos]) >= 0 {
		s.pos++
	}
}

func (s *scanner) take(c byte) bool {
	s.space()
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) list(depth int) ([]call, error) {
	if depth > maxDepth {
		return nil, s.errorf("pipelines are nested too deeply")
	}
	var r []call
	for {
		c, err := s.call(depth)
		if err != nil {
			return nil, err
		}
		r = append(r, c)
		if !s.take(',') {
			return r, nil
		}
	}
}

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '*'
}

func (s *scanner) name() string {
	s.space()
	b := s.pos
	for s.pos < len(s.text) && isName(s.text[s.pos]) {
		s.pos++
	}
	return s.text[b:s.pos]
}

func (s *scanner) call(depth int) (c call, err error) {
	s.space()
	c.at = s.pos
	if c.name = s.name(); c.name == "" {
		return c, s.errorf("the name of a pass is expected")
	}
	if s.take('{') {
		if c.given, err = s.options(); err != nil {
			return c, err
		}
	}
	if s.take('(') {
		c.parens = true
		if s.take(')') {
			return c, nil
		}
		if c.nested, err = s.list(depth + 1); err != nil {
			return c, err
		}
		if !s.take(')') {
			return c, s.errorf("')' is expected")
		}
	}
	return c, nil
}

func (s *scanner) options() (r []KeyValue, err error) {
	for !s.take('}') {
		var key string
		if s.pos < len(s.text) && s.text[s.pos] == '"' { // names of values may hold any character
			if key, err = s.quoted(); err != nil {
				return nil, err
			}
		} else if key = s.name(); key == "" {
			return nil, s.errorf("an option name or '}' is expected")
		}
		kv := KeyValue{Key: key}
		if s.take('=') {
			if kv.Value, err = s.value(); err != nil {
				return nil, err
			}
		} else {
			kv.Value = "true"
		}
		r = append(r, kv)
		s.take(',') // a comma between options is allowed, not needed
	}
	return r, nil
}

// value reads a quoted string or a bare word; brackets inside a bare word are balanced and may hold commas and quoted elements.
func (s *scanner) value() (string, error) {
	s.space()
	if s.pos < len(s.text) && s.text[s.pos] == '"' {
		return s.quoted()
	}
	b, depth := s.pos, 0
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '[' || c == '(':
			depth++
			continue
		case (c == ']' || c == ')') && depth > 0:
			depth--
			continue
		case c == '"' && depth > 0:
			if _, err := s.quoted(); err != nil {
				return "", err
			}
			s.pos--
			continue
		case depth > 0:
			continue
		case strings.IndexByte(" \t\r\n}{)(\"", c) >= 0:
		case c == ',' && !listGoesOn(s.text[s.pos+1:]):
		default:
			continue
		}
		break
	}
	if depth > 0 {
		return "", s.errorf("a bracket is not closed")
	}
	if s.pos == b {
		return "", s.errorf("a value is expected")
	}
	return s.text[b:s.pos], nil
}

// listGoesOn tells the comma of a list, a=1,2, from one between options, a=1,b=2.
func listGoesOn(rest string) bool {
	i := 0
	for i < len(rest) && isName(rest[i]) {
		i++
	}
	return i > 0 && !(i < len(rest) && rest[i] == '=')
}

func (s *scanner) quoted() (string, error) {
	var b strings.Builder
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case '"':
			s.pos++
			return b.String(), nil
		case '\\':
			if s.pos++; s.pos < len(s.text) {
				b.WriteByte(s.text[s.pos])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", s.errorf("a string is not closed")
}

// List spells a list of words so that an option reads them back.
func List(words []string) string {
	p := make([]string, len(words))
	for i, w := range words {
		if p[i] = w; w == "" || strings.ContainsAny(w, " \t\r\n,[](){}\"\\") {
			p[i] = quoted(w)
		}
	}
	return "[" + strings.Join(p, ",") + "]"
}

// Key spells the name of an option, such as that of a model's input, so that it is read back.
func Key(name string) string { return quote(name, true) }

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// quote spells a key or value so that it reads back the same.
func quote(s string, key bool) string {
	plain := s != ""
	for i := 0; i < len(s) && plain; i++ {
		plain = isName(s[i]) || !key && strings.IndexByte("/:+<>=%@", s[i]) >= 0
	}
	if !key && !plain { // lists and shapes are bare if they read back as one value
		t := &scanner{text: s + "}"}
		v, err := t.value()
		plain = err == nil && v == s && s[0] != '"'
	}
	if plain {
		return s
	}
	return quoted(s)
}
