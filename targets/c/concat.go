package c

import (
	"github.com/onnxopt/onnxopt/ir"
)

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
