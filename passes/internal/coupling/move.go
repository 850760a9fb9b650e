package coupling

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// place is attribute axis as a dimension of rank r; ok is false if it is none.
func place(n *ir.Node, def int64, r int) (int, bool) {
	a := n.Int("axis", def)
	if a < 0 {
		a += int64(r)
	}
	return int(a), a >= 0 && a < int64(r)
}

// others relates all dimensions but one.
func (g *Graph) others(n *ir.Node, x, y []int32, but int) bool {
	if len(x) != len(y) || x == nil {
		return false
	}
	for d := range x {
		if d != but {
			g.equal(n, x[d], y[d])
		}
	}
	return true
}

// segment relates an operand or result of one element to its place in a longer axis: single elements have no axis of their own, and stay.
func (g *Graph) segment(n *ir.Node, whole int32, at int, part int32) (length int, ok bool) {
	switch {
	case part >= 0:
		length = g.axes[part].Size
		if whole >= 0 && at+length <= g.axes[whole].Size {
			g.pairs(whole, at, part, 0, length)
			return length, true
		}
	case part == unit:
		if whole >= 0 && at < g.axes[whole].Size {
			g.fixElement(whole, at, NodeLabel(n)+" makes it a dimension of one element")
			return 1, true
		}
	}
	return 0, false
}

func (g *Graph) fixElement(axis int32, i int, reason string) {
	g.met[axis] = g.nodes
	if e := g.find(g.element(axis, i)); g.why[e] == 0 {
		g.reasons = append(g.reasons, reason)
		g.why[e] = int32(len(g.reasons) - 1)
	}
}

func (g *Graph) concat(n *ir.Node) string {
	y := g.ofValue(n.Result(0))
	axis, ok := place(n, 1, len(y))
	if !ok || n.Attr("axis") == nil && n.Graph().Opset("") >= 4 {
		return noRank
	}
	at := 0
	for i := range n.NumOperands() {
		x := g.operand(n, i)
		if !g.others(n, x, y, axis) {
			return noRank
		}
		if at < 0 || y[axis] < 0 {
			g.fix(x[axis], NodeLabel(n)+" puts it beside a dimension that is not known")
			continue
		}
		k, ok := g.segment(n, y[axis], at, x[axis])
		if at += k; !ok {
			return "joins dimensions that are not known"
		}
	}
	return ""
}

func (g *Graph) split(n *ir.Node) string {
	x := g.operand(n, 0)
	axis, ok := place(n, 0, len(x))
	if !ok || x[axis] == unknown {
		return noRank
	}
	at := 0
	parts := make([]int32, n.NumResults())
	for j := range parts {
		if n.Result(j) == nil {
			return "leaves results out"
		}
		y := g.ofValue(n.Result(j))
		if !g.others(n, x, y, axis) {
			return noRank
		}
		parts[j] = y[axis]
		if x[axis] == unit {
			continue
		}
		k, ok := g.segment(n, x[axis], at, y[axis])
		if at += k; !ok {
			return "splits into dimensions that are not known"
		}
	}
	g.fixups[n] = func(r *removal) error {
		sizes := make([]int64, len(parts))
		touched := false
		for j, p := range parts {
			sizes[j] = 1
			if p >= 0 {
				sizes[j] = int64(r.count(p))
				touched = touched || r.count(p) != g.axes[p].Size
			}
		}
		if !touched {
			return nil
		}
		if n.Graph().Opset("") < 13 {
			n.SetAttr(ir.IntsAttr("split", sizes))
			return nil
		}
		n.RemoveAttr("num_outputs")
		r.setOperand(n, 1, ir.TensorOf(sizes))
		return nil
	}
	return ""
}

// slice: a dimension that is not cut goes through; one of which a known part is taken, in order, corresponds to that part.
func (g *Graph) slice(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	if len(x) != len(y) || x == nil {
		return noRank
	}
	cut, ok := g.cuts(n, len(x))
	if !ok {
		return "cuts where it is not known"
	}
	whole := make([]bool, len(x))
	for d := range x {
		c := cut[d]
		switch {
		case c == nil:
			g.equal(n, x[d], y[d])
		case x[d] < 0:
			g.fix(y[d], NodeLabel(n)+" cuts it")
		case c.step != 1:
			g.fixAll([]int32{x[d], y[d]}, NodeLabel(n)+" takes every so many of it")
		default:
			lo, hi := bound(c.start, g.axes[x[d]].Size), bound(c.end, g.axes[x[d]].Size)
			if whole[d] = lo == 0 && hi == g.axes[x[d]].Size; hi-lo < 1 {
				g.fix(x[d], NodeLabel(n)+" takes nothing of it")
			} else if k, ok := g.segment(n, x[d], lo, y[d]); !ok || k != hi-lo {
				return noRank
			}
		}
	}
	g.fixups[n] = func(r *removal) error { return g.recut(n, r, x, cut) }
	return ""
}

type cut struct{ start, end, step int64 }

// bound is a start or end as Slice reads it.
func bound(v int64, size int) int {
	if v < 0 {
		v += int64(size)
	}
	return int(min(max(v, 0), int64(size)))
}

// cuts are the cuts of a Slice by dimension, nil where there is none.
func (g *Graph) cuts(n *ir.Node, rank int) ([]*cut, bool) {
	var starts, ends, axes, steps []int64
	if n.Graph().Opset("") < 10 {
		starts, ends, axes = n.Ints("starts"), n.Ints("ends"), n.Ints("axes")
	} else {
		for i, p := range []*[]int64{&starts, &ends, &axes, &steps} {
			v, ok := g.known(n.Operand(i + 1))
			if !ok && (i < 2 || n.Operand(i+1) != nil) {
				return nil, false
			}
			*p = v
		}
	}
	r := make([]*cut, rank)
	for k := range starts {
		a := int64(k)
		if axes != nil {
			if k >= len(axes) {
				return nil, false
			}
			if a = axes[k]; a < 0 {
				a += int64(rank)
			}
		}
		if a < 0 || a >= int64(rank) || k >= len(ends) || steps != nil && k >= len(steps) {
			return nil, false
		}
		r[a] = &cut{starts[k], ends[k], 1}
		if steps != nil {
			r[a].step = steps[k]
		}
	}
	return r, true
}

// recut moves the bounds of a Slice to where the same elements are now.
func (g *Graph) recut(n *ir.Node, r *removal, x []int32, cut []*cut) error {
	var starts, ends, axes, steps []int64
	touched := false
	for d, c := range cut {
		if c == nil {
			continue
		}
		s, e := c.start, c.end
		if a := x[d]; a >= 0 && r.count(a) != g.axes[a].Size {
			touched = true
			s, e = int64(r.before(a, bound(c.start, g.axes[a].Size))), int64(r.before(a, bound(c.end, g.axes[a].Size)))
		}
		starts, ends, axes, steps = append(starts, s), append(ends, e), append(axes, int64(d)), append(steps, c.step)
	}
	if !touched {
		return nil
	}
	if n.Graph().Opset("") < 10 {
		n.SetAttr(ir.IntsAttr("starts", starts))
		n.SetAttr(ir.IntsAttr("ends", ends))
		n.SetAttr(ir.IntsAttr("axes", axes))
		return nil
	}
	for i, v := range [][]int64{starts, ends, axes, steps} {
		r.setOperand(n, i+1, ir.TensorOf(v))
	}
	return nil
}

// gather: the dimension it takes from corresponds to the indices where they are a known list; the dimensions of the indices replace it.
func (g *Graph) gather(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	axis, ok := place(n, 0, len(x))
	at, ranked := g.dims(n.Operand(1))
	if !ok || !ranked || len(y) != len(x)-1+len(at) {
		return noRank
	}
	for d := range x {
		switch {
		case d < axis:
			g.equal(n, x[d], y[d])
		case d > axis:
			g.equal(n, x[d], y[d-1+len(at)])
		}
	}
	list, known := g.known(n.Operand(1))
	if !known || len(at) != 1 || x[axis] < 0 || y[axis] < 0 {
		g.fixAll(append(slices.Clone(y[axis:axis+len(at)]), x[axis]), NodeLabel(n)+" takes elements by index")
		if n.Operand(1).Const() == nil {
			g.fixAll(g.ofValue(n.Operand(1)), NodeLabel(n)+" takes it as indices")
		}
		return ""
	}
	size := g.axes[x[axis]].Size
	for j, i := range list {
		if i < 0 {
			i += int64(size)
		}
		if i < 0 || i >= int64(size) {
			return "has an index outside of its data"
		}
		list[j] = i
		g.join(g.element(x[axis], int(i)), g.element(y[axis], j))
	}
	g.fixups[n] = func(r *removal) error {
		if r.count(x[axis]) == size && r.count(y[axis]) == len(list) {
			return nil
		}
		var now []int64
		for j, i := range list {
			if !r.gone(y[axis], j) {
				now = append(now, int64(r.before(x[axis], int(i))))
			}
		}
		if n.Operand(1).Const() != nil && n.Operand(1).Const().DType() == ir.Int32 {
			r.setOperand(n, 1, ir.TensorOf(narrow(now)))
		} else {
			r.setOperand(n, 1, ir.TensorOf(now))
		}
		return nil
	}
	return ""
}

func narrow(v []int64) []int32 {
	r := make([]int32, len(v))
	for i, x := range v {
		r[i] = int32(x)
	}
	return r
}

func (g *Graph) transpose(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	if len(x) != len(y) || x == nil {
		return noRank
	}
	perm := n.Ints("perm")
	if n.Attr("perm") != nil && len(perm) != len(x) {
		return noRank
	}
	for d := range y {
		p := int64(len(x) - 1 - d)
		if perm != nil {
			p = perm[d]
		}
		if p < 0 || p >= int64(len(x)) {
			return noRank
		}
		g.equal(n, x[p], y[d])
	}
	return ""
}

func (g *Graph) squeeze(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	axes, ok := g.axesOf(n, 1)
	if !ok || x == nil || y == nil {
		return noRank
	}
	gone, ok := places(axes, len(x))
	if !ok {
		return noRank
	}
	k := 0
	for d := range x {
		if axes == nil && x[d] == unknown {
			return "drops dimensions that are not known"
		}
		if gone[d] || axes == nil && x[d] == unit {
			continue
		}
		if k >= len(y) {
			return noRank
		}
		g.equal(n, x[d], y[k])
		k++
	}
	return ""
}

func (g *Graph) unsqueeze(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	axes, ok := g.axesOf(n, 1)
	if !ok || x == nil && y == nil || len(y) != len(x)+len(axes) {
		return noRank
	}
	made, ok := places(axes, len(y))
	if !ok {
		return noRank
	}
	k := 0
	for d := range y {
		if !made[d] && k < len(x) {
			g.equal(n, x[k], y[d])
			k++
		}
	}
	return ""
}

// places marks axes of a rank.
func places(axes []int64, rank int) ([]bool, bool) {
	r := make([]bool, rank)
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < 0 || a >= int64(rank) {
			return nil, false
		}
		r[a] = true
	}
	return r, true
}

// expand: dimensions that are repeated stay, unless the shape is known and can be made smaller with them.
func (g *Graph) expand(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	if y == nil || len(x) > len(y) {
		return noRank
	}
	shape, known := g.known(n.Operand(1))
	known = known && len(shape) <= len(y)
	for d, o := range y {
		i := unit
		if k := d - (len(y) - len(x)); k >= 0 {
			i = x[k]
		}
		switch {
		case i != unit:
			g.equal(n, i, o)
			if s := d - (len(y) - len(shape)); !known || s >= 0 && shape[s] != 1 && o < 0 {
				g.fix(o, NodeLabel(n)+" has a shape that is not known")
			}
		case !known:
			g.fix(o, NodeLabel(n)+" repeats it as often as is not known")
		}
	}
	g.fixups[n] = func(r *removal) error {
		now, touched := slices.Clone(shape), false
		for s := range now {
			if o := y[len(y)-len(shape)+s]; o >= 0 && now[s] != 1 && r.count(o) != g.axes[o].Size {
				now[s], touched = int64(r.count(o)), true
			}
		}
		if touched {
			r.setOperand(n, 1, ir.TensorOf(now))
		}
		return nil
	}
	return ""
}

// filled: ConstantOfShape, whose dimensions follow their users where they are numbers.
func (g *Graph) filled(n *ir.Node) string {
	shape, ok := g.known(n.Operand(0))
	y := g.ofValue(n.Result(0))
	if !ok || len(shape) != len(y) {
		return "has a computed shape"
	}
	if n.Operand(0).Const() == nil {
		g.fixAll(g.ofValue(n.Operand(0)), NodeLabel(n)+" takes it as a shape")
	}
	for _, a := range y {
		if a >= 0 {
			g.met[a] = g.nodes
		}
	}
	g.fixups[n] = func(r *removal) error {
		now, touched := slices.Clone(shape), false
		for d, a := range y {
			if a >= 0 && r.count(a) != g.axes[a].Size {
				now[d], touched = int64(r.count(a)), true
			}
		}
		if touched {
			r.setOperand(n, 0, ir.TensorOf(now))
		}
		return nil
	}
	return ""
}

// pad: dimensions without padding go through.
func (g *Graph) pad(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	if len(x) != len(y) || x == nil {
		return noRank
	}
	pads := n.Ints("pads")
	if n.Attr("pads") == nil {
		pads = n.Ints("paddings")
	}
	if n.Operand(1) != nil {
		var ok bool
		if pads, ok = g.known(n.Operand(1)); !ok {
			return "pads by what is not known"
		}
	}
	axes := make([]int64, len(x))
	for d := range axes {
		axes[d] = int64(d)
	}
	if n.Operand(3) != nil {
		var ok bool
		if axes, ok = g.known(n.Operand(3)); !ok {
			return "pads dimensions that are not known"
		}
	}
	if len(pads) != 2*len(axes) {
		return noRank
	}
	padded := make([]bool, len(x))
	for k, a := range axes {
		if a < 0 {
			a += int64(len(x))
		}
		if a < 0 || a >= int64(len(x)) {
			return noRank
		}
		padded[a] = pads[k] != 0 || pads[k+len(axes)] != 0
	}
	for d := range x {
		if padded[d] {
			g.fixAll([]int32{x[d], y[d]}, NodeLabel(n)+" pads it")
		} else {
			g.equal(n, x[d], y[d])
		}
	}
	return ""
}
