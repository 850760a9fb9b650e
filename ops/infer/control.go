package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// subgraph infers g with the given operands and returns what its outputs are.
func (c *call) subgraph(g *ir.Graph, in []*info) []*info {
	for i, s := range g.Inputs() {
		x := &info{}
		if i < len(in) && in[i] != nil {
			x = in[i]
		}
		if t := s.Value().Type(); !c.a.inCall && t != nil {
			// What is recorded here was often traced for one time around: only the kind and element type are taken.
			x, _ = c.a.merge(x, fromType(t, c.a.recordedSize).withoutShape())
		}
		c.a.vals.set(s.Value(), x)
	}
	c.a.graph(g)
	var out []*info
	for _, s := range g.Outputs() {
		x := c.a.value(s.Value())
		if x == nil {
			x = &info{}
		}
		out = append(out, x)
	}
	return out
}

// body is the subgraph of an attribute, nil if the node has none.
func (c *call) body(name string) *ir.Graph {
	if a := c.n.Attr(name); a != nil && a.Ref == "" {
		return a.Graph()
	}
	return nil
}

// join is what holds of a value that is either x or y. Sizes that differ get a private name.
func (c *call) join(x, y *info) *info {
	switch {
	case x == nil || y == nil || x.kind != y.kind:
		return &info{}
	case x.elem != y.elem:
		return &info{kind: x.kind}
	case x.never:
		return y
	case y.never:
		return x
	}
	z := x.withoutShape()
	if x.of != nil && y.of != nil {
		z.of = c.join(x.of, y.of)
	}
	if !x.ranked || !y.ranked || len(x.dims) != len(y.dims) {
		return z
	}
	z.ranked, z.dims = true, slices.Clone(x.dims)
	for i, d := range y.dims {
		if !d.Same(z.dims[i]) {
			z.dims[i] = c.a.fresh()
		}
	}
	if p, q := x.content(), y.content(); p != nil && len(p) == len(q) {
		z.data = slices.Clone(p)
		for i, e := range q {
			if f := p[i]; e.isNum != f.isNum || e.isNum && e.frac != f.frac || !e.isNum && !e.Same(f.Int) {
				z.data[i] = elem{}
			}
		}
	}
	return z
}

func inferIf(c *call) {
	then, other := c.body("then_branch"), c.body("else_branch")
	if then == nil || other == nil {
		return
	}
	taken, known := c.scalar(0).Const()
	branch := func(g *ir.Graph, sure bool) []*info {
		if !sure {
			c.a.unsure++
			defer func() { c.a.unsure-- }()
		}
		return c.subgraph(g, nil)
	}
	a := branch(then, known && taken != 0)
	b := branch(other, known && taken == 0)
	if len(a) != len(c.out) || len(b) != len(c.out) {
		c.errorf("it has %d results, then_branch has %d outputs and else_branch %d", len(c.out), len(a), len(b))
		return
	}
	for i := range c.out {
		switch {
		case known && taken != 0:
			c.out[i] = a[i]
		case known:
			c.out[i] = b[i]
		default:
			if x, y := a[i], b[i]; x.kind == ir.KindTensor && y.kind == ir.KindTensor && x.elem != y.elem && x.elem != ir.Undefined && y.elem != ir.Undefined {
				c.errorf("result %d is of type %s in then_branch and of type %s in else_branch", i, x.elem, y.elem)
			}
			c.out[i] = c.join(a[i], b[i])
		}
	}
}

// iterate infers a body whose first outputs become its first inputs the next time around. run maps what is carried into the body to what
// it carries out (the first entries) and whatever else it yields. Sizes that change from one time to the next get private names, at the
// third attempt shapes are given up. Remarks of attempts that were wrong are dropped.
func (c *call) iterate(initial []*info, run func(in []*info) []*info) (carried, rest []*info) {
	a := c.a
	a.loops++
	defer func() { a.loops-- }()
	in := make([]*info, len(initial))
	for i, x := range initial {
		in[i] = x.withoutData()
	}
	const attempts = 3
	attempt := 0
	if a.loops > 2 {
		attempt = attempts - 1
		for i := range in {
			in[i] = in[i].withoutShape()
		}
	}
	loose := map[string]bool{} // private names given to sizes that change
	for ; ; attempt++ {
		mark := len(a.result.remarks)
		out := run(in)
		if len(out) < len(in) {
			return nil, nil
		}
		stable := true
		for i := range in {
			next := c.generalize(in[i], out[i], loose)
			if next != in[i] {
				stable = false
				in[i] = next
			}
		}
		if stable || attempt >= attempts-1 {
			carried = make([]*info, len(in))
			for i := range in {
				carried[i] = c.join(initial[i].withoutData(), out[i].withoutData())
			}
			return carried, out[len(in):]
		}
		a.result.remarks = a.result.remarks[:mark]
		if attempt == attempts-2 {
			for i := range in {
				in[i] = in[i].withoutShape()
			}
		}
	}
}

// generalize is x, or if out is not of the same shape, x with private names for the sizes that differ.
func (c *call) generalize(x, out *info, loose map[string]bool) *info {
	switch {
	case x == nil:
		return nil
	case x.of != nil && x.of.never && out.of != nil && !out.of.never && out.of.kind == x.of.kind && out.of.elem == x.of.elem:
		y := *x
		y.exported, y.of = nil, c.looseSizes(out.of, loose)
		return &y
	case x.of != nil && x.kind == ir.KindSequence && out.of != nil && x.of.kind == out.of.kind && x.of.elem == out.of.elem:
		of := c.generalize(x.of, out.of, loose)
		if of == x.of {
			return x
		}
		y := *x
		y.exported, y.of = nil, of
		return &y
	case x.of != nil && !x.of.sameType(out.of):
		return x.withoutShape()
	case !x.ranked:
		return x
	}
	if !out.ranked || len(out.dims) != len(x.dims) {
		return x.withoutShape()
	}
	r := x
	for i, d := range x.dims {
		if d.Same(out.dims[i]) || loose[d.String()] {
			continue
		}
		if r == x {
			y := *x
			y.exported, y.dims = nil, slices.Clone(x.dims)
			r = &y
		}
		r.dims[i] = c.a.fresh()
		loose[r.dims[i].String()] = true
	}
	return r
}

// looseSizes is x with new names, noted in loose, for the sizes that have no name in the model.
func (c *call) looseSizes(x *info, loose map[string]bool) *info {
	y := *x
	y.exported, y.dims = nil, slices.Clone(x.dims)
	for i, d := range y.dims {
		if d.private() {
			y.dims[i] = c.a.fresh()
			loose[y.dims[i].String()] = true
		}
	}
	return &y
}

// inferLoop: operands M, cond, carried...; the body maps iteration, cond, carried... to cond, carried..., scanned....
func inferLoop(c *call) {
	g := c.body("body")
	if g == nil {
		return
	}
	n := max(0, len(c.in)-2)
	scanned := len(g.Outputs()) - 1 - n
	if len(g.Inputs()) != n+2 || scanned < 0 || len(c.out) > n+scanned {
		c.errorf("it carries %d values and has %d results; its body has %d inputs and %d outputs", n, len(c.out), len(g.Inputs()), len(g.Outputs()))
		return
	}
	var cond *info
	initial := make([]*info, n)
	for i := range initial {
		initial[i] = c.arg(i + 2)
	}
	carried, rest := c.iterate(initial, func(in []*info) []*info {
		args := append([]*info{tensorInfo(ir.Int64, []Int{}), tensorInfo(ir.Bool, []Int{})}, in...)
		out := c.subgraph(g, args)
		cond = out[0]
		return out[1:]
	})
	trip := c.a.fresh()
	if c.scalar(0).known && c.has(0) && (!c.has(1) || c.scalar(1).Is(1)) && c.runsOn(g, cond) {
		trip = c.scalar(0).Max(Num(0))
	}
	for i := range c.out {
		switch {
		case i < len(carried):
			c.out[i] = carried[i]
		case i-n < len(rest):
			c.out[i] = stack(c.row(c.declaredScan(g, i+1, rest[i-n]), trip), trip, 0)
		}
	}
}

// row is what is known of the rows that n iterations give. Where there may be none, engines take the sizes that are numbers in every run, and
// 0 for the others.
func (c *call) row(x *info, n Int) *info {
	if x == nil || n.Positive() {
		return x
	}
	y := *x
	y.exported, y.dims = nil, slices.Clone(x.dims)
	for i, d := range y.dims {
		if _, number := d.Const(); !number {
			y.dims[i] = c.a.fresh()
		}
	}
	return &y
}

// declaredScan is x, output i of a body, with what the body declares of it where x says nothing. Unlike what is carried, it is of the same
// shape each time around.
func (c *call) declaredScan(g *ir.Graph, i int, x *info) *info {
	if t := g.Outputs()[i].Type(); !c.a.inCall && t != nil && x != nil {
		x, _ = c.a.merge(x, fromType(t, c.a.recordedSize))
	}
	return x
}

// runsOn reports whether a loop's body never asks to stop: its condition is true, or the one it was given.
func (c *call) runsOn(g *ir.Graph, cond *info) bool {
	if data := cond.content(); len(data) == 1 && data[0].Is(1) {
		return true
	}
	v := g.Outputs()[0].Value()
	for range g.NumNodes() { // no further, should there be a cycle
		if v == nil || v.Node() == nil || !v.Node().Is("Identity") {
			break
		}
		v = v.Node().Operand(0)
	}
	return v != nil && v == g.Inputs()[1].Value()
}

// stack is a tensor of n tensors like x along a new axis.
func stack(x *info, n Int, axis int) *info {
	y := x.withoutShape()
	if x.ranked && axis >= 0 && axis <= len(x.dims) {
		y.ranked, y.dims = true, slices.Insert(slices.Clone(x.dims), axis, n)
	}
	return y
}

// inferScan: operands are states, then sequences; the body maps states, elements to states, elements. Opset 8 has a first operand
// sequence_lens and a batch axis before all others.
func inferScan(c *call) {
	g := c.body("body")
	if g == nil {
		return
	}
	skip, batched := 0, c.since() < 9
	if batched {
		skip = 1
	}
	m := int(c.int("num_scan_inputs"))
	n := len(c.in) - skip - m
	if m < 1 || n < 0 || len(g.Inputs()) != n+m || len(g.Outputs()) < n || len(c.out) > len(g.Outputs()) {
		c.errorf("it has %d operands, %d of them scanned, and %d results; its body has %d inputs and %d outputs",
			len(c.in)-skip, m, len(c.out), len(g.Inputs()), len(g.Outputs()))
		return
	}
	batch, length := c.a.fresh(), c.a.fresh()
	states := make([]*info, n)
	for i := range states {
		states[i] = c.arg(skip + i)
		if batched {
			states[i] = c.takeAxis(states[i], 0, &batch)
		}
	}
	parts := make([]*info, m)
	for i := range parts {
		x := c.arg(skip + n + i)
		if batched {
			x = c.takeAxis(x, 0, &batch)
		}
		parts[i] = c.takeAxis(x, c.listed("scan_input_axes", i), &length)
	}
	carried, rest := c.iterate(states, func(in []*info) []*info {
		return c.subgraph(g, append(slices.Clip(in), parts...))
	})
	for i := range c.out {
		var x *info
		switch {
		case i < len(carried):
			x = carried[i]
		case i-n < len(rest) && rest[i-n] != nil:
			x = c.declaredScan(g, i, rest[i-n])
			axis := int(c.listed("scan_output_axes", i-n))
			if axis < 0 {
				axis += len(x.dims) + 1
			}
			x = stack(x, length, axis)
		default:
			continue
		}
		if batched {
			x = stack(x, batch, 0)
		}
		c.out[i] = x
	}
}

// listed is entry i of an INTS attribute, 0 where it has none.
func (c *call) listed(name string, i int) int64 {
	if v := c.attrInts(name); i < len(v) {
		return v[i]
	}
	return 0
}

// takeAxis is x without one axis, whose size becomes *size if it says more.
func (c *call) takeAxis(x *info, axis int64, size *Int) *info {
	y := x.withoutShape()
	if !x.ranked {
		return y
	}
	k, ok := c.axis(axis, len(x.dims))
	if !ok {
		return y
	}
	if d := x.dims[k]; size.private() {
		*size = d
	}
	y.ranked, y.dims = true, slices.Delete(slices.Clone(x.dims), k, k+1)
	return y
}

// inferSequenceMap: the body maps elements of the sequences (and tensors as they are) to elements of the resulting sequences.
func inferSequenceMap(c *call) {
	g := c.body("body")
	if g == nil {
		return
	}
	args := make([]*info, len(c.in))
	for i, x := range c.in {
		args[i] = x.withoutData()
		if x != nil && x.kind == ir.KindSequence {
			args[i] = x.of
		}
	}
	c.a.loops++
	out := c.subgraph(g, args)
	c.a.loops--
	for i := range c.out {
		if i < len(out) && out[i].kind != ir.KindNone {
			c.out[i] = &info{kind: ir.KindSequence, of: out[i].detached(map[string]bool{})}
			c.a.nameSizes(c.out[i])
		}
	}
}
