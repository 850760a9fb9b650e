package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerReshape gives the same memory another shape.
func lowerReshape(b *builder, n *ir.Node) error {
	t := b.flat(n.Operand(0))
	b.define(n.Result(0), &tensor{buf: t.buf, shape: b.shape(n.Result(0)), stiff: true})
	return nil
}

func lowerTranspose(b *builder, n *ir.Node) error {
	x := b.plain(n.Operand(0))
	perm := n.Ints("perm")
	rank := len(x.shape)
	if perm == nil {
		for i := range rank {
			perm = append(perm, int64(rank-1-i))
		}
	}
	y := b.result(n, false)
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		xs := x.strides()
		s := make([]int, rank)
		for i, p := range perm {
			s[i] = xs[p]
		}
		f.nest(y.stored(), []*access{accessOf("y0", y), {"a0", x.start(), s}}, func(at []string) { f.line("%s = %s;", at[0], at[1]) })
	})
	return nil
}

func normal(axis int64, rank int) int {
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis)
}

func lowerPad(b *builder, n *ir.Node) error {
	pads, err := b.ints(n.Operand(1))
	if err != nil {
		return err
	}
	in, out := b.shape(n.Operand(0)), b.shape(n.Result(0))
	rank := len(in)
	if v := n.Operand(3); v != nil {
		axes, err := b.ints(v)
		if err != nil {
			return err
		}
		full := make([]int, 2*rank)
		for i, a := range axes {
			a = normal(int64(a), rank)
			full[a], full[rank+a] = pads[i], pads[len(axes)+i]
		}
		pads = full
	}
	fill := "0"
	typ := b.typ(n.Result(0))
	if typ == float {
		fill = "0.0f"
	}
	if v := n.Operand(2); v != nil {
		if typ == float {
			f, err := b.floats(v)
			if err != nil || len(f) != 1 {
				return errors.New("a value that is no constant")
			}
			fill = literalOf(f[0])
		} else {
			i, err := b.ints(v)
			if t := b.constant(v); err != nil && t != nil {
				i, err = integers(t)
			}
			if err != nil || len(i) != 1 {
				return errors.New("a value that is no constant")
			}
			fill = fmt.Sprint(i[0])
		}
	}
	mode := n.Str("mode", "constant")
	x := b.flat(n.Operand(0))
	y := b.result(n, false)
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		l := make([]string, rank)
		for i := range rank {
			l[i] = fmt.Sprintf("p%d", i)
			f.loop(fmt.Sprintf("q%d", i), out[i])
			switch mode {
			case "constant":
				f.line("const int %s = q%d - %d;", l[i], i, pads[i])
			case "edge":
				f.line("int %s = q%d - %d;", l[i], i, pads[i])
				f.line("%s = %s < 0 ? 0 : (%s > %d ? %d : %s);", l[i], l[i], l[i], in[i]-1, in[i]-1, l[i])
			case "reflect":
				f.line("int %s = q%d - %d;", l[i], i, pads[i])
				f.line("%s = %s < 0 ? -%s : %s;", l[i], l[i], l[i], l[i])
				f.line("%s = %s > %d ? %d - %s : %s;", l[i], l[i], in[i]-1, 2*(in[i]-1), l[i], l[i])
			case "wrap":
				f.line("const int %s = ((q%d - %d) %% %d + %d) %% %d;", l[i], i, pads[i], in[i], in[i], in[i])
			}
		}
		src, dst, cond := "", "", ""
		is, os := rowMajor(in), rowMajor(out)
		for i := range rank {
			src += fmt.Sprintf(" + %s * %d", l[i], is[i])
			dst += fmt.Sprintf(" + q%d * %d", i, os[i])
			if mode == "constant" && (pads[i] > 0 || pads[rank+i] > 0) {
				cond += fmt.Sprintf(" && %s >= 0 && %s < %d", l[i], l[i], in[i])
			}
		}
		if cond == "" {
			f.line("y0[0%s] = a0[0%s];", dst, src)
		} else {
			f.line("y0[0%s] = %s ? a0[0%s] : %s;", dst, cond[4:], src, fill)
		}
		for range rank {
			f.end()
		}
	})
	return nil
}

// lowerExpand repeats along axes of one.
func lowerExpand(b *builder, n *ir.Node) error {
	x := b.plain(n.Operand(0))
	y := b.result(n, false)
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		f.nest(y.stored(), []*access{accessOf("y0", y), {"a0", x.start(), broadcast(x, y)}}, func(at []string) { f.line("%s = %s;", at[0], at[1]) })
	})
	return nil
}

// lowerTile repeats whole tensors.
func lowerTile(b *builder, n *ir.Node) error {
	x := b.flat(n.Operand(0))
	y := b.result(n, false)
	in, out := x.shape, y.shape
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		src, dst := "0", "0"
		is, os := rowMajor(in), rowMajor(out)
		for i := range out {
			f.loop(fmt.Sprintf("q%d", i), out[i])
			src += fmt.Sprintf(" + q%d %% %d * %d", i, in[i], is[i])
			dst += fmt.Sprintf(" + q%d * %d", i, os[i])
		}
		f.line("y0[%s] = a0[%s];", dst, src)
		for range out {
			f.end()
		}
	})
	return nil
}

// lowerDepthToSpace and its inverse are transpositions of six axes.
func lowerDepthToSpace(b *builder, n *ir.Node) error {
	s := b.shape(n.Operand(0))
	k := int(n.Int("blocksize", 1))
	c := s[1] / (k * k)
	shape, perm := []int{s[0], k, k, c, s[2], s[3]}, []int{0, 3, 4, 1, 5, 2}
	if n.Str("mode", "DCR") == "CRD" {
		shape, perm = []int{s[0], c, k, k, s[2], s[3]}, []int{0, 1, 4, 2, 5, 3}
	}
	return b.permute(n, shape, perm)
}

func lowerSpaceToDepth(b *builder, n *ir.Node) error {
	s := b.shape(n.Operand(0))
	k := int(n.Int("blocksize", 1))
	return b.permute(n, []int{s[0], s[1], s[2] / k, k, s[3] / k, k}, []int{0, 3, 5, 1, 2, 4})
}

// permute is a transposition of the operand seen in another shape.
func (b *builder) permute(n *ir.Node, shape, perm []int) error {
	x := b.flat(n.Operand(0))
	y := b.result(n, false)
	y.stiff = true
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		is := rowMajor(shape)
		dims, s := make([]int, len(perm)), make([]int, len(perm))
		for i, p := range perm {
			dims[i], s[i] = shape[p], is[p]
		}
		f.nest(dims, []*access{{"y0", 0, rowMajor(dims)}, {"a0", 0, s}}, func(at []string) { f.line("%s = %s;", at[0], at[1]) })
	})
	return nil
}
