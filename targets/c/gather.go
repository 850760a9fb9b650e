package c

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

func lowerGather(b *builder, n *ir.Node) error {
	in, idx := b.shape(n.Operand(0)), b.shape(n.Operand(1))
	axis := normal(n.Int("axis", 0), len(in))
	if axis == 1 && len(in) == 4 && len(idx) == 1 && b.constant(n.Operand(1)) != nil && b.constant(n.Operand(0)) == nil && b.placed(n.Operand(0)).blocked != nil {
		list, err := b.ints(n.Operand(1))
		if err != nil {
			return err
		}
		return b.shuffle(n, list)
	}
	if t := b.typ(n.Operand(1)); t != int64s && t != int32s {
		return fmt.Errorf("indices of type %s", t.name)
	}
	x, i := b.flat(n.Operand(0)), b.flat(n.Operand(1))
	y := b.result(n, false)
	outer, inner, count := product(in[:axis]), product(in[axis+1:]), product(idx)
	b.add([]*tensor{x, i}, []*tensor{y}, func(f *text, _ int) {
		f.loop("o", outer)
		f.loop("k", count)
		f.line("int g = (int)a1[k];")
		f.line("g = g < 0 ? g + %d : g;", in[axis])
		f.line("g = g < 0 ? 0 : (g > %d ? %d : g); /* what is outside of the table is undefined */", in[axis]-1, in[axis]-1)
		f.loop("i", inner)
		f.line("y0[(o * %d + k) * %d + i] = a0[(o * %d + g) * %d + i];", count, inner, in[axis], inner)
		f.end()
		f.end()
		f.end()
	})
	return nil
}

// shuffle picks channels of a blocked tensor.
func (b *builder) shuffle(n *ir.Node, list []int) error {
	x := b.blocked(n.Operand(0))
	y := b.result(n, true)
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		xs, ys := x.strides(), y.strides()
		for from := 0; from < len(list); from += block {
			l := f.open([]int{x.shape[0], x.shape[2], x.shape[3]}, []*access{
				{"y0", y.start() + from/block*ys[1], []int{ys[0], ys[2], ys[3]}}, {"a0", x.start(), []int{xs[0], xs[2], xs[3]}}})
			for i := from; i < min(from+block, len(list)); i++ {
				c := normal(int64(list[i]), x.shape[1])
				f.line("y0[%s + %d] = a0[%s + %d];", l.index(0), i-from, l.index(1), c/block*xs[1]+c%block)
			}
			l.close()
		}
	})
	return nil
}
