package reshapes

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// torch.onnx writes x.size(i) of whatever x is at hand. Asked of what was before, it does not keep a Transpose or Reshape alive that
// fusion needs no more:
//
//	x ── Transpose ── Shape ── Gather i ──   becomes   x ── Shape ── Gather j ──
var sizeBefore = &rewrite.Rule{
	Name: "size-before",
	Doc:  "asks for a size before a change of shape or order instead of behind it",
	Match: rewrite.MustParse(`
		y: shared = {Reshape, Flatten, Squeeze, Unsqueeze, Transpose} <...> (x, a...)
		s: shared = Shape (y)
		z = Gather <axis = 0> (s, i: scalar)`),
	Where: func(m *rewrite.Match) error {
		for u := range m.Value("s").Uses() {
			if u.Node == nil || !u.Node.Is("Gather") || u.Index != 0 {
				return errors.New("the shape is used for more than single sizes")
			}
			j, err := place(m, u.Node.Operand(1))
			if err != nil {
				return err
			}
			if u.Node == m.Root() {
				m.Keep = j
			}
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		i := m.Const("i")
		j := ir.TensorOf([]int64{m.Keep.(int64)}, i.Shape()...)
		if i.DType() == ir.Int32 {
			j = ir.TensorOf([]int32{int32(m.Keep.(int64))}, i.Shape()...)
		}
		return []*ir.Value{b.Like(m.Root(), []*ir.Value{b.Op("Shape", []*ir.Value{m.Value("x")}), b.Const("", j)})}
	},
}

// place is the axis of x that has the size of axis i of y.
func place(m *rewrite.Match, i *ir.Value) (int64, error) {
	x, ok := m.Dims("x")
	y, ok2 := m.Dims("y")
	if c := i.Const(); ok && ok2 && c != nil && c.Len() == 1 {
		v, ok, err := rewrite.Scalar(c)
		m.Fail(err)
		at := int(v)
		if at < 0 {
			at += len(y)
		}
		if ok && at >= 0 && at < len(y) {
			for j, d := range x {
				if d.IsKnown() && d.Same(y[at]) {
					return int64(j), nil
				}
			}
		}
	}
	return 0, fmt.Errorf("no axis of a %s is surely as long as that of a %s", m.Type("x"), m.Type("y"))
}
