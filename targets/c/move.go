package c

import (
	"errors"
	"fmt"
	"slices"

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

// lowerConcat writes operands side by side. Blocked tensors that fall on blocks become parts of the result, without a copy.
func lowerConcat(b *builder, n *ir.Node) error {
	shape := b.shape(n.Result(0))
	axis := normal(n.Int("axis", 0), len(shape))
	if axis == 1 && b.joinable(n, shape) {
		y := b.result(n, true)
		at := 0
		for _, v := range n.Operands() {
			if product(b.shape(v)) == 0 {
				continue
			}
			x := b.blocked(v)
			if x.parent == nil && !x.stiff && x.buf.param == "" && b.places[v].plain == nil && b.sole(v, n) && !b.shares(x) &&
				(x.halo == [4]int{} || y.halo == [4]int{} || x.fill == y.fill) {
				h := x.halo
				if h != [4]int{} {
					y.fill = x.fill
				}
				x.halo = [4]int{}
				x.parent, x.at, x.buf = y, at, y.buf
				y.grow(h)
				b.rehome(x, y)
			} else {
				part := &tensor{buf: y.buf, shape: x.shape, blocked: true, parent: y, at: at}
				b.copy(x, part)
			}
			at += blocksOf(x.shape[1])
		}
		return nil
	}
	y := b.result(n, false)
	at := 0
	for _, v := range n.Operands() {
		if product(b.shape(v)) == 0 {
			continue
		}
		x, from := b.plain(v), at
		b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
			out := accessOf("y0", y)
			out.start += from * out.strides[axis]
			f.nest(x.stored(), []*access{out, accessOf("a0", x)}, func(at []string) { f.line("%s = %s;", at[0], at[1]) })
		})
		at += x.shape[axis]
	}
	return nil
}

// joinable reports whether a concatenation of channels is one of whole blocks, some of which are blocked already.
func (b *builder) joinable(n *ir.Node, shape []int) bool {
	if len(shape) != 4 || !byteOrFloat(b.typ(n.Result(0))) {
		return false
	}
	some := false
	ops := n.Operands()
	for i, v := range ops {
		s := b.shape(v)
		if s[1]%block != 0 && i < len(ops)-1 {
			return false
		}
		if b.constant(v) == nil && b.placed(v).blocked != nil {
			some = true
		}
	}
	return some
}

// sole reports whether v occurs once among n's operands.
func (b *builder) sole(v *ir.Value, n *ir.Node) bool {
	c := 0
	for _, w := range n.Operands() {
		if w == v {
			c++
		}
	}
	return c == 1
}

// shares reports whether another tensor uses the memory of t.
func (b *builder) shares(t *tensor) bool {
	for _, p := range b.places {
		for _, u := range []*tensor{p.plain, p.blocked} {
			if u != nil && u != t && (u.buf == t.buf || u.root() == t) {
				return true
			}
		}
	}
	return false
}

// rehome makes the memory of views of x that of y.
func (b *builder) rehome(x, y *tensor) {
	for _, s := range b.steps {
		for _, l := range [][]*tensor{s.in, s.out} {
			for _, u := range l {
				if u.root() == y {
					u.buf = y.buf
				}
			}
		}
	}
}

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
