package c

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// slicing is a box of a tensor with steps.
type slicing struct{ start, step []int }

// lowerSlice copies a box.
func lowerSlice(b *builder, n *ir.Node) error {
	in, out := b.shape(n.Operand(0)), b.shape(n.Result(0))
	starts, err := b.ints(n.Operand(1))
	if err != nil {
		return err
	}
	rank := len(in)
	s := slicing{make([]int, rank), slices.Repeat([]int{1}, rank)}
	axes := make([]int, len(starts))
	for i := range axes {
		axes[i] = i
	}
	if v := n.Operand(3); v != nil {
		if axes, err = b.ints(v); err != nil {
			return err
		}
	}
	var steps []int
	if v := n.Operand(4); v != nil {
		if steps, err = b.ints(v); err != nil {
			return err
		}
	}
	for i, a := range axes {
		a = normal(int64(a), rank)
		if steps != nil {
			s.step[a] = steps[i]
		}
		x := starts[i]
		if x < 0 {
			x += in[a]
		}
		if s.step[a] > 0 {
			s.start[a] = min(max(x, 0), in[a])
		} else {
			s.start[a] = min(max(x, 0), in[a]-1)
		}
	}
	b.slice(n.Operand(0), n.Result(0), out, s)
	return nil
}

// slice defines v as a box of x: a view where whole blocks of channels are cut out, else a copy.
func (b *builder) slice(x, v *ir.Value, out []int, s slicing) {
	in := b.shape(x)
	p := b.placed(x)
	if len(in) == 4 && p.blocked != nil && in[0] == out[0] && in[2] == out[2] && in[3] == out[3] && s.step[1] == 1 && s.start[1]%block == 0 {
		t := p.blocked
		b.define(v, &tensor{buf: t.buf, shape: out, blocked: true, parent: t, at: s.start[1] / block})
		return
	}
	t := b.plain(x)
	y := b.alloc(v.Name(), t.buf.typ, out, false)
	b.define(v, y)
	b.add([]*tensor{t}, []*tensor{y}, func(f *text, _ int) {
		a := accessOf("a0", t)
		for i := range in {
			a.start += s.start[i] * a.strides[i]
			a.strides[i] *= s.step[i]
		}
		f.nest(out, []*access{accessOf("y0", y), a}, func(at []string) { f.line("%s = %s;", at[0], at[1]) })
	})
}

func lowerSplit(b *builder, n *ir.Node) error {
	in := b.shape(n.Operand(0))
	axis := normal(n.Int("axis", 0), len(in))
	at := 0
	for _, v := range n.Results() {
		out := b.shape(v)
		if v.NumUses() > 0 {
			s := slicing{make([]int, len(in)), slices.Repeat([]int{1}, len(in))}
			s.start[axis] = at
			b.slice(n.Operand(0), v, out, s)
		}
		at += out[axis]
	}
	return nil
}
