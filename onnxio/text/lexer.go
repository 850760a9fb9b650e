package text

import (
	"bytes"
	"strconv"
	"strings"
)

// Kind is the lexical class of a token.
type Kind uint8

// The token classes.
const (
	EOF    Kind = iota
	Ident       // [A-Za-z_][A-Za-z0-9_]*
	String      // "..." or b"..."
	Int         // -?[0-9]+
	Float       // a number with a point or an exponent, -inf, nan(0x...); inf and nan without a sign are identifiers
	Punct       // one of < > ( ) [ ] { } , : = . ? @ and => and ...
)

// Token is one lexical element. Text is its spelling, for a String its value.
type Token struct {
	Kind  Kind
	Pos   Pos
	Text  string
	Notes []note // the structured comments before it
}

// Is reports whether the token is the punctuation s.
func (t Token) Is(s string) bool { return t.Kind == Punct && t.Text == s }

// String describes the token for a message.
func (t Token) String() string {
	switch t.Kind {
	case EOF:
		return "the end of the text"
	case String:
		return "string " + clip(strconv.Quote(t.Text))
	case Ident:
		return "name " + clip(t.Text)
	case Int, Float:
		return "number " + clip(t.Text)
	}
	return "'" + t.Text + "'"
}

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:37], "") + "..."
	}
	return s
}

// Lexer splits a text into tokens. Structured comments ("#! doc ...") are handed over with the token that follows them.
type Lexer struct {
	src  string
	off  int
	line int32
	bol  int // offset of the first byte of the line
	err  *Error
}

// NewLexer returns a lexer over src. A byte order mark at its beginning is skipped.
func NewLexer(src []byte) *Lexer {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	return &Lexer{src: string(src), line: 1}
}

func (l *Lexer) pos() Pos { return Pos{l.line, int32(l.off-l.bol) + 1} }

func (l *Lexer) fail(pos Pos, format string, args ...any) Token {
	if l.err == nil {
		l.err = errorAt(pos, format, args...)
	}
	l.off = len(l.src)
	return Token{Kind: EOF, Pos: pos}
}

// Next returns the next token. At the end, and after an error, it is EOF.
func (l *Lexer) Next() (Token, error) {
	t := l.next()
	if l.err != nil {
		return t, l.err
	}
	return t, nil
}

func (l *Lexer) next() Token {
	notes := l.space()
	pos := l.pos()
	if l.off >= len(l.src) {
		return Token{Kind: EOF, Pos: pos, Notes: notes}
	}
	var t Token
	switch c := l.src[l.off]; {
	case c == 'b' && strings.HasPrefix(l.src[l.off+1:], `"`):
		t = l.escaped()
	case letter(c):
		t = l.ident(l.off)
	case c == '"':
		t = l.quoted()
	case digit(c) || c == '-':
		t = l.number()
	default:
		t = l.punct()
	}
	t.Pos, t.Notes = pos, notes
	return t
}

// space skips white space and comments and collects the structured ones.
func (l *Lexer) space() []note {
	var notes []note
	for l.off < len(l.src) {
		switch l.src[l.off] {
		case '\n':
			l.off++
			l.line++
			l.bol = l.off
		case ' ', '\t', '\v', '\f', '\r':
			l.off++
		case '#':
			pos := l.pos()
			line := l.src[l.off:]
			if i := strings.IndexByte(line, '\n'); i >= 0 {
				line = line[:i]
			}
			if strings.HasPrefix(line, "#! ") {
				notes = append(notes, note{pos, line[3:]})
			}
			l.off += len(line)
		default:
			return notes
		}
	}
	return notes
}

func (l *Lexer) ident(from int) Token {
	for l.off < len(l.src) && (letter(l.src[l.off]) || digit(l.src[l.off])) {
		l.off++
	}
	word := l.src[l.off:]
	if strings.EqualFold(l.src[from:l.off], "nan") || strings.EqualFold(l.src[from:l.off], "-nan") {
		if i := strings.IndexByte(word, ')'); i >= 0 && i < 24 && strings.HasPrefix(word, "(0x") {
			l.off += i + 1
			return Token{Kind: Float, Text: l.src[from:l.off]}
		}
	}
	return Token{Kind: Ident, Text: l.src[from:l.off]}
}

// number scans an integer, a float, or a special float with a sign.
func (l *Lexer) number() Token {
	from, pos := l.off, l.pos()
	if l.src[l.off] == '-' {
		l.off++
		if l.off < len(l.src) && letter(l.src[l.off]) {
			t := l.ident(from)
			if !specialFloat(t.Text[1:]) && t.Kind != Float {
				return l.fail(pos, "malformed number %s", clip(t.Text))
			}
			t.Kind = Float
			return t
		}
	}
	kind, n := Int, l.digits()
	if n > 0 && l.off < len(l.src) && l.src[l.off] == '.' && !strings.HasPrefix(l.src[l.off:], "...") {
		kind = Float
		l.off++
		l.digits()
	}
	if n > 0 && l.off < len(l.src) && (l.src[l.off] == 'e' || l.src[l.off] == 'E') {
		kind = Float
		l.off++
		if l.off < len(l.src) && (l.src[l.off] == '+' || l.src[l.off] == '-') {
			l.off++
		}
		n = l.digits()
	}
	if n == 0 || l.off < len(l.src) && letter(l.src[l.off]) {
		end := min(l.off+1, len(l.src))
		return l.fail(pos, "malformed number %q", clip(l.src[from:end]))
	}
	return Token{Kind: kind, Text: l.src[from:l.off]}
}

func (l *Lexer) digits() int {
	from := l.off
	for l.off < len(l.src) && digit(l.src[l.off]) {
		l.off++
	}
	return l.off - from
}

// quoted scans "...": a backslash takes the next byte as it is, all others stand for themselves.
func (l *Lexer) quoted() Token {
	pos := l.pos()
	l.off++
	from, escaped := l.off, false
	for ; l.off < len(l.src); l.off++ {
		switch l.src[l.off] {
		case '"':
			s := l.src[from:l.off]
			l.off++
			if escaped {
				s = unescape(s)
			}
			return Token{Kind: String, Text: s}
		case '\\':
			escaped = true
			if l.off++; l.off < len(l.src) && l.src[l.off] == '\n' {
				l.newline()
			}
		case '\n':
			l.newline()
		case 0:
			return l.fail(l.pos(), `NUL in a string: write b"\x00"`)
		}
	}
	return l.fail(pos, "string is not closed")
}

// newline counts a line end that stands inside a string at the current offset.
func (l *Lexer) newline() {
	l.line++
	l.bol = l.off + 1
}

func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// escaped scans b"...", a string in Go's notation, which can spell any byte.
func (l *Lexer) escaped() Token {
	pos := l.pos()
	end := l.off + 2
	for end < len(l.src) && l.src[end] != '"' && l.src[end] != '\n' {
		if l.src[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(l.src) || l.src[end] != '"' {
		return l.fail(pos, "string is not closed")
	}
	s, err := strconv.Unquote(l.src[l.off+1 : end+1])
	if err != nil {
		return l.fail(pos, "malformed string %s: a b\"...\" string takes the escapes of Go", clip(l.src[l.off:end+1]))
	}
	l.off = end + 1
	return Token{Kind: String, Text: s}
}

func (l *Lexer) punct() Token {
	n := 1
	switch rest := l.src[l.off:]; {
	case strings.HasPrefix(rest, "=>"):
		n = 2
	case strings.HasPrefix(rest, "..."):
		n = 3
	case !strings.ContainsRune("<>()[]{},:=.?@", rune(rest[0])):
		return l.fail(l.pos(), "unexpected %q", firstRune(rest))
	}
	l.off += n
	return Token{Kind: Punct, Text: l.src[l.off-n : l.off]}
}

func firstRune(s string) string {
	for i := range s {
		if i > 0 {
			return s[:i]
		}
	}
	return s
}

func letter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }

// specialFloat reports whether the word is a float: nan, inf or infinity in any case.
func specialFloat(s string) bool {
	return strings.EqualFold(s, "nan") || strings.EqualFold(s, "inf") || strings.EqualFold(s, "infinity")
}
