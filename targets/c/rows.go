package c

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// stage is a layer over images that can be computed by rows: a step by itself, or, with what reads it, part of one.
type stage struct {
	key      string
	win      window
	channels int // of the result
	typ      ctype
	last     *ir.Value
	params   []*tensor // operands after the input
	rowed    []*tensor // the last of them, which lie as the result does
	// body writes the loops for so many rows of the result, beginning with the first: a0 is the input, a1, a2... are params, y0 is the result.
	body func(f *text, lanes, rows int, x, y *tensor)
}

// addStage appends the stage as a step.
func (b *builder) addStage(x, y *tensor, s *stage) {
	b.add(append([]*tensor{x}, s.params...), []*tensor{y}, func(f *text, lanes int) { s.body(f, lanes, s.win.out[0], x, y) })
}

// intoRows is the stage that reads v, the result of a layer with windows out, and that the schedule joins with it by rows; nil: there is none.
func (b *builder) intoRows(v *ir.Value, out [2]int, batch int, key string, work float64) *stage {
	if batch != 1 || out[0] < 2 || v.IsOutput() {
		return nil
	}
	use, ok := v.OnlyUse()
	if !ok || use.Node.IsReturn() || use.Node.Graph() != v.Graph() || use.Index != 0 || b.done[use.Node] || use.Node.Op().Domain != "" || b.check(use.Node, lowerings()) != nil {
		return nil
	}
	n := use.Node
	node := b.node
	defer func() { b.node = node }()
	var second *stage
	var values []*ir.Value
	switch n.Op().Type {
	case "Conv":
		c := b.pointwise(n)
		if c == nil {
			return nil
		}
		f := b.chain(n.Result(0))
		b.node = n
		what := c.geometry() + " float32 " + f.describe()
		values = append(values, v, n.Result(0))
		for _, op := range f.ops {
			values = append(values, op.result)
		}
		if b.rowSite(key, what, out[0], values, work+c.work()) == 0 {
			return nil
		}
		c.f = b.follow(n.Result(0), c.geometry())
		second = c.dense(false)
	case "MaxPool", "AveragePool":
		w, ok := b.tiledPool(n)
		if !ok || b.rowSite(key, fmt.Sprintf("%s %s", strings.ToLower(n.Op().Type), dims(w.kernel[:])), w.out[0], []*ir.Value{v, n.Result(0)}, work) == 0 {
			return nil
		}
		b.node = n
		second = &stage{key: "pool", win: w, channels: b.shape(v)[1], typ: float, last: n.Result(0), body: func(f *text, lanes, rows int, x, y *tensor) {
			k := w
			k.out[0], k.in[0] = rows, rows*w.strides[0]
			(&poolBody{k, x, y, n.Is("MaxPool"), n.Int("count_include_pad", 0) != 0, min(lanes, 8)}).write(f)
		}}
	default:
		return nil
	}
	b.done[n] = true
	return second
}

// rowSite registers the choice of how many rows two layers are computed by; 0: one after the other.
func (b *builder) rowSite(first, second string, rows int, values []*ir.Value, work float64) int {
	choices := []Choice{{"rows": 0}}
	for n := 1; n < rows && n <= 16; n *= 2 {
		choices = append(choices, Choice{"rows": n})
	}
	s := b.site("rows "+first+" | "+second, true, values, choices, nil)
	s.work = work / 4 // less is to be gained than by transforms
	b.strip = s.pick(0, "rows", 0)
	return b.strip
}

// pointwise is a convolution of single pixels over all channels; nil: n is none.
func (b *builder) pointwise(n *ir.Node) *conv {
	if b.mergedConv(n) != nil || n.Int("group", 1) != 1 {
		return nil
	}
	w, err := b.floats(n.Operand(1))
	if err != nil {
		return nil
	}
	s := b.shape(n.Operand(1))
	win, err := b.windowOf(n, s[2:])
	if err != nil || win.kernel != [2]int{1, 1} || win.strides != [2]int{1, 1} || win.pads != [4]int{} {
		return nil
	}
	c := &conv{b: b, n: n, win: win, outputs: s[0], inputs: s[1], group: 1, batch: 1, w: w, bias: make([]float32, blocksOf(s[0])*block)}
	if v := n.Operand(2); v != nil {
		bias, err := b.floats(v)
		if err != nil {
			return nil
		}
		copy(c.bias, bias)
	}
	return c
}

// tiledPool reads a pooling whose windows neither overlap nor reach beyond the input.
func (b *builder) tiledPool(n *ir.Node) (w window, ok bool) {
	if n.NumResults() > 1 && n.Result(1) != nil && n.Result(1).NumUses() > 0 || b.typ(n.Result(0)) != float {
		return w, false
	}
	var k []int
	for _, x := range n.Ints("kernel_shape") {
		k = append(k, int(x))
	}
	w, err := b.windowOf(n, k)
	if err != nil || w.pads != [4]int{} || w.dilations != [2]int{1, 1} || w.kernel != w.strides {
		return w, false
	}
	return w, w.out[0]*w.strides[0] <= w.in[0] && w.out[1]*w.strides[1] <= w.in[1] && w.out[0] > 1
}

// fuseRows appends a step that computes two stages by strips: the rows of the first that a strip of the second needs are kept in a small
// memory, which stays in the cache (the fused tiles of Alwani et al., "Fused-Layer CNN Accelerators", 2016, for layers whose windows do not
// overlap, so that nothing is computed twice).
func (b *builder) fuseRows(x *tensor, first, second *stage) error {
	y := b.alloc(second.last.Name(), second.typ, imageShape(b.shape(second.last)), true)
	b.define(second.last, y)
	each := second.win.strides[0] // rows of the first for one of the second
	strips := split(second.win.out[0], b.strip)
	width := first.win.out[1]
	between := func(rows int) *tensor {
		return &tensor{buf: &buffer{typ: first.typ}, shape: []int{1, first.channels, rows * each, width}, blocked: true}
	}
	in := append(append([]*tensor{x}, first.params...), second.params...)
	s := b.add(in, []*tensor{y}, func(f *text, lanes int) {
		for _, r := range strips {
			t := between(r.step)
			down := first.win.strides[0] * each
			f.loop("t", r.n)
			row := func(name string, t *tensor, each int) string {
				s := t.strides()
				return fmt.Sprintf("%s + %d + t * %d", name, r.from*each*s[2], r.step*each*s[2])
			}
			call := func(s *stage, x, y *tensor, from, to string, rows, each, base int) {
				args := []string{from}
				params := []string{fmt.Sprintf("const %s *restrict a0", x.buf.typ.name)}
				for i, p := range s.params {
					a := fmt.Sprintf("a%d", base+i)
					if i >= len(s.params)-len(s.rowed) {
						a = row(a, p, each)
					}
					args = append(args, a)
					params = append(params, fmt.Sprintf("const %s *restrict a%d", p.buf.typ.name, i+1))
				}
				part := text{helpers: f.helpers}
				part.line("(%s, %s *restrict y0) {", strings.Join(params, ", "), y.buf.typ.name)
				s.body(&part, lanes, rows, x, y)
				part.line("}")
				f.line("%s(%s, %s);", f.helpers.add("rows", part.String()), strings.Join(args, ", "), to)
			}
			scratch := "s"
			if first.typ.size == 1 {
				scratch = "(uint8_t *)s"
			}
			call(first, x, t, row("a0", x, down), scratch, r.step*each, each, 1)
			call(second, t, y, scratch, row("y0", y, 1), r.step, 1, 1+len(first.params))
			f.end()
		}
	})
	most := 0
	for _, r := range strips {
		most = max(most, between(r.step).size()*first.typ.size)
	}
	s.scratch = &buffer{name: "rows", typ: float, elems: (most + 3) / 4}
	return nil
}
