package c

import (
	"fmt"
	"slices"
	"strings"
)

// step is a call of a function that is made for it. Its body knows all sizes.
type step struct {
	node, op string
	in, out  []*tensor
	scratch  *buffer // nil: none
	// body writes the function's body for machines with vectors of so many floats: operands are a0, a1..., results y0, y1..., the scratch s.
	body func(f *text, lanes int)
}

// text is a piece of C.
type text struct {
	strings.Builder
	depth   int
	helpers *helpers
}

// line appends a line.
func (t *text) line(format string, a ...any) {
	s := format
	if len(a) > 0 {
		s = fmt.Sprintf(format, a...)
	}
	if strings.HasPrefix(s, "}") {
		t.depth--
	}
	if strings.HasPrefix(s, "#") {
		t.WriteString(s)
	} else {
		t.WriteString(strings.Repeat("    ", max(t.depth, 0)) + s)
	}
	t.WriteByte('\n')
	if strings.HasSuffix(s, "{") {
		t.depth++
	}
}

// loop opens a loop of a variable from 0, or only a block if it runs once. The variable exists either way.
func (t *text) loop(v string, n int) {
	t.line("for (int %s = 0; %s < %d; %s++) {", v, v, n, v)
}

func (t *text) end() { t.line("}") }

// access is an operand of a nest of loops.
type access struct {
	name    string
	start   int
	strides []int
}

// accessOf is a tensor as an operand of loops over its own stored dimensions.
func accessOf(name string, t *tensor) *access {
	return &access{name, t.start(), slices.Clone(t.strides())}
}

// nest opens loops over dims, as few as the strides allow, calls body with the name of each operand's element, and closes them. The innermost
// loop runs over the last dimension.
func (t *text) nest(dims []int, operands []*access, body func(at []string)) {
	n := t.open(dims, operands)
	at := make([]string, len(operands))
	for i, a := range operands {
		at[i] = fmt.Sprintf("%s[%s]", a.name, n.index(i))
	}
	body(at)
	n.close()
}

// loops are open loops.
type loops struct {
	t        *text
	dims     []int
	operands []*access
	count    int
	base     int
}

// index is the place of operand i's element.
func (l *loops) index(i int) string { return l.terms(i, 0) }

func (l *loops) terms(i, from int) string {
	var terms []string
	for d := range l.dims {
		switch s := l.operands[i].strides[d]; {
		case l.dims[d] == 1 || s == 0:
		case s == 1:
			terms = append(terms, fmt.Sprintf("i%d", l.base+d))
		default:
			terms = append(terms, fmt.Sprintf("i%d * %d", l.base+d, s))
		}
	}
	if s := l.operands[i].start; s != 0 || len(terms) == 0 {
		terms = append(terms, fmt.Sprint(s))
	}
	return strings.Join(terms, " + ")
}

func (l *loops) close() {
	for range l.count {
		l.t.end()
	}
}

// open opens loops over dims after joining those that can be one.
func (t *text) open(dims []int, operands []*access) *loops {
	dims = slices.Clone(dims)
	for _, a := range operands {
		a.strides = slices.Clone(a.strides)
	}
	drop := func(d int) {
		dims = slices.Delete(dims, d, d+1)
		for _, a := range operands {
			a.strides = slices.Delete(a.strides, d, d+1)
		}
	}
	for d := len(dims) - 1; d >= 0; d-- {
		if dims[d] == 1 {
			drop(d)
		}
	}
	for d := len(dims) - 2; d >= 0; d-- {
		if !slices.ContainsFunc(operands, func(a *access) bool { return a.strides[d] != a.strides[d+1]*dims[d+1] }) {
			n := dims[d]
			inner := dims[d+1]
			drop(d)
			dims[d] = n * inner
		}
	}
	l := &loops{t: t, dims: dims, operands: operands}
	for d, n := range dims {
		t.loop(fmt.Sprintf("i%d", d), n)
		l.count++
	}
	return l
}
