package cost

import (
	"fmt"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/ir"
)

// reader reads the sizes of a node's operands and results. The first that is not known is remembered in err, after which
// everything is 0.
type reader struct {
	n   *ir.Node
	o   Options
	err error
}

func (s *reader) shape(v *ir.Value, what string, i int) ir.Shape {
	if s.err != nil {
		return nil
	}
	t := s.o.Type(v)
	if t.TensorShape() == nil {
		s.err = fmt.Errorf("the shape of %s %d is not known", what, i)
	}
	return t.TensorShape()
}

// in is the shape of operand i.
func (s *reader) in(i int) ir.Shape { return s.shape(s.n.Operand(i), "operand", i) }

// size is a dimension's size, with symbols replaced.
func (s *reader) size(d ir.Dim) int64 {
	k, ok := s.o.Size(d)
	if !ok && s.err == nil {
		s.err = fmt.Errorf("the size of dimension %s is not known", d)
	}
	return max(k, 0)
}

// dim is the size of one axis of operand i; negative axes count from the end.
func (s *reader) dim(i int, axis int64) int64 { return s.axis(s.in(i), axis) }

func (s *reader) axis(h ir.Shape, axis int64) int64 {
	if s.err != nil {
		return 0
	}
	if axis < 0 {
		axis += int64(len(h))
	}
	if axis < 0 || axis >= int64(len(h)) {
		s.err = fmt.Errorf("a tensor of shape %s has no axis %d", h, axis)
		return 0
	}
	return s.size(h[axis])
}

// len is the number of elements of a shape.
func (s *reader) len(h ir.Shape) int64 {
	n := int64(1)
	for _, d := range h {
		n = analysis.Mul(n, s.size(d))
	}
	if s.err != nil {
		return 0
	}
	return n
}

// out is the number of elements of the first result.
func (s *reader) out() int64 {
	h := s.shape(s.n.Result(0), "result", 0)
	return s.len(h)
}
