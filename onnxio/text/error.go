package text

import "fmt"

// Pos is a place in a text: line and column in bytes, both from 1. The zero Pos is no place.
type Pos struct{ Line, Col int32 }

// String is the place as "line:column".
func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }

// Error is what is wrong with a text and where.
type Error struct {
	Pos Pos
	Msg string
}

// Error is the message behind its place, "3:14: expected ')', found '='". It is one line.
func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

func errorAt(pos Pos, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...)}
}
