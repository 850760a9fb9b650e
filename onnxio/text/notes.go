package text

import (
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// note is a structured comment: the text behind "#! ".
type note struct {
	pos  Pos
	text string
}

// Notes is what structured comments say of the element that follows them. A parser that does not know them skips them as
// comments; they hold what ONNX's textual syntax has no place for.
type Notes struct {
	Doc    string
	Props  []ir.Prop
	Denote []Denotation
	Quant  []ir.Prop // quantization_annotation: the value's parameter of that key is the tensor of that name
}

// Denotation gives the denotations of one type: Level 0 is the element's own type, 1 the type inside it, and so on.
type Denotation struct {
	Pos   Pos
	Level int
	Type  string
	Dims  []string // of the first dimensions; "" for none
}

// meta is what the notes say in the form of ir, nil if they say nothing.
func (n *Notes) meta() *ir.Meta {
	if n == nil || n.Doc == "" && len(n.Props) == 0 {
		return nil
	}
	return &ir.Meta{Doc: n.Doc, Props: n.Props}
}

// parseNotes reads structured comments: a word and its arguments, strings in Go's notation.
func parseNotes(notes []note) (*Notes, *Error) {
	if len(notes) == 0 {
		return nil, nil
	}
	r := &Notes{}
	for _, n := range notes {
		word, rest, _ := strings.Cut(strings.TrimSpace(n.text), " ")
		level := 0
		if word == "denote" {
			var arg string
			arg, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
			var err error
			if level, err = strconv.Atoi(arg); err != nil || level < 0 || level > maxDepth {
				return nil, errorAt(n.pos, "malformed note: denote takes a level and strings")
			}
		}
		args, ok := noteStrings(rest)
		switch {
		case !ok:
			return nil, errorAt(n.pos, "malformed note: strings are written as in Go")
		case word == "doc" && len(args) == 1:
			r.Doc = args[0]
		case word == "meta" && len(args) == 2:
			r.Props = append(r.Props, ir.Prop{Key: args[0], Value: args[1]})
		case word == "denote" && len(args) >= 1:
			r.Denote = append(r.Denote, Denotation{n.pos, level, args[0], args[1:]})
		case word == "quant" && len(args) == 2:
			r.Quant = append(r.Quant, ir.Prop{Key: args[0], Value: args[1]})
		default:
			return nil, errorAt(n.pos, `unknown note %s: expected doc "..", meta ".." "..", denote N ".." or quant ".." ".."`, clip(n.text))
		}
	}
	return r, nil
}

func noteStrings(s string) ([]string, bool) {
	var r []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		q, err := strconv.QuotedPrefix(s)
		if err != nil || q[0] == '\'' {
			return nil, false
		}
		v, err := strconv.Unquote(q)
		if err != nil {
			return nil, false
		}
		r = append(r, strings.Clone(v))
		s = s[len(q):]
	}
	return r, true
}

// denoted returns t with the denotations of the notes, or an error if they do not fit it.
func (n *Notes) denoted(t *ir.Type) (*ir.Type, *Error) {
	if n == nil {
		return t, nil
	}
	for _, d := range n.Denote {
		u, ok := denoteAt(t, d, d.Level)
		if !ok {
			return nil, errorAt(d.Pos, "the denotation does not fit the type %s", typeString(t))
		}
		t = u
	}
	return t, nil
}

func denoteAt(t *ir.Type, d Denotation, level int) (*ir.Type, bool) {
	if t == nil {
		return nil, false
	}
	r := *t
	if level > 0 {
		of, ok := denoteAt(t.Of, d, level-1)
		r.Of = of
		return &r, ok
	}
	if len(d.Dims) > len(t.Shape) {
		return nil, false
	}
	r.Denotation = d.Type
	if t.Shape != nil {
		r.Shape = append(ir.Shape{}, t.Shape...)
	}
	for i, s := range d.Dims {
		r.Shape[i].Denotation = s
	}
	return &r, true
}
