package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// einsumOp sums products over named axes, as numpy.einsum. An ellipsis stands for axes that broadcast; without an arrow the
// result has the ellipsis and then the names that occur once, in alphabetical order.
func einsumOp(c *Call) ([]ir.Datum, error) {
	if len(c.In) == 0 {
		return nil, errors.New("no operands")
	}
	in := make([]*ir.Tensor, len(c.In))
	for i := range in {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if i > 0 && t.DType() != in[0].DType() {
			return nil, c.badOperand(i, t)
		}
		in[i] = t
	}
	e, err := parseEinsum(c.str("equation", ""), in)
	if err != nil {
		return nil, err
	}
	switch computeType(in[0].DType()) {
	case ir.Float32:
		return einsum[float32, float64](c, e, in)
	case ir.Float64:
		return einsum[float64, float64](c, e, in)
	case ir.Int32:
		return einsum[int32, int64](c, e, in)
	case ir.Int64:
		return einsum[int64, int64](c, e, in)
	case ir.Uint32:
		return einsum[uint32, int64](c, e, in)
	case ir.Uint64:
		return einsum[uint64, int64](c, e, in)
	}
	return nil, c.badType(in[0].DType())
}

// equation is a parsed equation: the loops over all names, those of the result first.
type equation struct {
	sizes []int64 // of each loop
	out   int     // loops that belong to the result
	steps [][]int // of each operand for each loop
}

// expandTerm replaces the ellipsis by names that no equation can hold: negative ones that count from its last axis back.
func expandTerm(term string, rank int) ([]rune, error) {
	head, tail, dots := strings.Cut(strings.ReplaceAll(term, " ", ""), "...")
	names := []rune(head)
	if dots {
		n := rank - len([]rune(head)) - len([]rune(tail))
		if n < 0 {
			return nil, fmt.Errorf("term %q for rank %d", term, rank)
		}
		for i := range n {
			names = append(names, rune(i-n))
		}
		names = append(names, []rune(tail)...)
	}
	if len(names) != rank {
		return nil, fmt.Errorf("term %q for rank %d", term, rank)
	}
	return names, nil
}

// axisNames are the named axes of all operands.
type axisNames struct {
	terms [][]rune // of each operand
	size  map[rune]int64
	count map[rune]int
	all   []rune // sorted; the names of ellipses come first, from the first axis on
}

func newAxisNames(terms []string, in []*ir.Tensor) (*axisNames, error) {
	n := &axisNames{terms: make([][]rune, len(in)), size: map[rune]int64{}, count: map[rune]int{}}
	for i, t := range in {
		var err error
		if n.terms[i], err = expandTerm(terms[i], t.Rank()); err != nil {
			return nil, err
		}
		for k, r := range n.terms[i] {
			d, old := t.Shape()[k], n.size[r]
			n.count[r]++
			if n.count[r] > 1 && d != old && d != 1 && old != 1 {
				return nil, fmt.Errorf("axis %q has sizes %d and %d", r, old, d)
			}
			if n.count[r] == 1 || old == 1 {
				n.size[r] = d
			}
		}
	}
	for r := range n.size {
		n.all = append(n.all, r)
	}
	slices.Sort(n.all)
	return n, nil
}

// result are the axes of the result: those of the term behind the arrow, or else the ellipsis and the names that occur once.
func (n *axisNames) result(term string, arrow bool) ([]rune, error) {
	var r []rune
	if !arrow {
		for _, name := range n.all {
			if name < 0 || n.count[name] == 1 {
				r = append(r, name)
			}
		}
		return r, nil
	}
	term = strings.ReplaceAll(term, " ", "")
	rank := len([]rune(strings.ReplaceAll(term, "...", "")))
	for _, name := range n.all {
		if name < 0 && strings.Contains(term, "...") {
			rank++
		}
	}
	r, err := expandTerm(term, rank)
	if err != nil {
		return nil, err
	}
	for i, name := range r {
		if n.count[name] == 0 || slices.Contains(r[:i], name) {
			return nil, fmt.Errorf("term %q: axis %q", term, name)
		}
	}
	return r, nil
}

func parseEinsum(text string, in []*ir.Tensor) (*equation, error) {
	left, right, arrow := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(in) {
		return nil, fmt.Errorf("equation %q for %d operands", text, len(in))
	}
	names, err := newAxisNames(terms, in)
	if err != nil {
		return nil, err
	}
	loops, err := names.result(right, arrow)
	if err != nil {
		return nil, err
	}
	e := &equation{out: len(loops), steps: make([][]int, len(in))}
	for _, r := range names.all {
		if !slices.Contains(loops[:e.out], r) {
			loops = append(loops, r)
		}
	}
	for _, r := range loops {
		e.sizes = append(e.sizes, names.size[r])
	}
	for i, t := range in {
		e.steps[i] = make([]int, len(loops))
		for k, s := range strides(t.Shape()) {
			if t.Shape()[k] != 1 {
				e.steps[i][slices.Index(loops, names.terms[i][k])] += s // a repeated name walks the diagonal
			}
		}
	}
	return e, nil
}

// einsum runs the loops, the summed ones innermost; sums are of type A.
func einsum[T ordered, A float64 | int64](c *Call, e *equation, in []*ir.Tensor) ([]ir.Datum, error) {
	vals := make([][]T, len(in))
	for i, t := range in {
		v, err := load[T](t)
		if err != nil {
			return nil, err
		}
		vals[i] = v
	}
	shape := slices.Clone(e.sizes[:e.out])
	r, err := alloc[T](c, shape)
	if err != nil {
		return nil, err
	}
	outer, inner := make([][]int, len(in)), make([][]int, len(in))
	for i, s := range e.steps {
		outer[i], inner[i] = s[:e.out], s[e.out:]
	}
	sums := newNest(e.sizes[e.out:], inner...)
	places, out := newNest(shape, outer...), 0
	err = places.rows(func(base []int, length int) error {
		for p := range length {
			var sum A
			err := sums.rows(func(at []int, n int) error {
				for q := range n {
					product := A(1)
					for i, v := range vals {
						product = A(product * A(v[base[i]+p*places.inner(i)+at[i]+q*sums.inner(i)]))
					}
					sum += product
				}
				return c.tick(8 * n * len(vals))
			})
			if err != nil {
				return err
			}
			r[out] = T(sum)
			out++
		}
		return nil
	})
	return one(pack(in[0].DType(), shape, r), err)
}
