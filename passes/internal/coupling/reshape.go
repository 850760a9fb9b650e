package coupling

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// maxProduct bounds the common dimension through which many become many.
const maxProduct = 1 << 16

// reshape cuts the dimensions on both sides into the smallest runs of equal size: one that becomes one goes through, one that becomes many is
// their product, and many that become many are both the product of one between.
func (g *Graph) reshape(n *ir.Node) string {
	if why := g.runs(n, g.operand(n, 0), g.ofValue(n.Result(0))); why != "" {
		return why
	}
	g.target(n)
	return ""
}

func (g *Graph) runs(n *ir.Node, x, y []int32) string {
	v := n.Operand(0)
	a, okA := g.dims(v)
	b, okB := g.dims(n.Result(0))
	if !okA || !okB || len(a) != len(x) || len(b) != len(y) {
		return noRank
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		i0, j0 := i, j
		p, q := infer.Num(1), infer.Num(1)
		for {
			if i > i0 && j > j0 && p.Same(q) {
				break
			}
			// The smaller side grows; where that is not known, the one that has grown less.
			cp, okp := p.Const()
			cq, okq := q.Const()
			left := j == len(b) || i < len(a) && (okp && okq && cp <= cq || !(okp && okq) && i-i0 <= j-j0)
			if i == len(a) && j == len(b) {
				break
			}
			if left && i < len(a) {
				p = p.Mul(a[i])
				i++
			} else {
				q = q.Mul(b[j])
				j++
			}
		}
		g.run(n, x[i0:i], y[j0:j])
	}
	return ""
}

// dims are the dimensions of v, a constant's included.
func (g *Graph) dims(v *ir.Value) ([]infer.Int, bool) {
	if t := v.Const(); t != nil {
		var r []infer.Int
		for _, d := range t.Shape() {
			r = append(r, infer.Num(d))
		}
		return r, true
	}
	return g.facts.Dims(v)
}

// run relates dimensions x that become y.
func (g *Graph) run(n *ir.Node, x, y []int32) {
	drop := func(s []int32) []int32 {
		return slices.DeleteFunc(slices.Clone(s), func(a int32) bool { return a == unit })
	}
	all := slices.Concat(x, y)
	x, y = drop(x), drop(y)
	switch {
	case slices.Contains(all, unknown):
		if len(x) == 1 && len(y) == 1 {
			g.equal(n, x[0], y[0])
			return
		}
		g.fixAll(all, NodeLabel(n)+" merges it with a dimension that is not known")
	case len(x) == 0 || len(y) == 0:
	case len(x) == 1:
		g.product(n, x[0], y...)
	case len(y) == 1:
		g.product(n, y[0], x...)
	default:
		size := 1
		for _, a := range x {
			size *= g.axes[a].Size
		}
		if size > maxProduct {
			g.fixAll(all, NodeLabel(n)+" mixes it with others")
			return
		}
		between := g.own(n, size)
		g.product(n, between, x...)
		g.product(n, between, y...)
	}
}

// target sees to the shape of a Reshape: its entries have to follow the result's dimensions. A computed one is replaced by a constant if it can
// be written with numbers, 0 and one -1; else the dimensions stay.
func (g *Graph) target(n *ir.Node) {
	y := g.ofValue(n.Result(0))
	now, ok := g.entries(n, y)
	if !ok {
		g.fixAll(y, NodeLabel(n)+" has a computed shape")
		return
	}
	g.fixups[n] = func(r *removal) error {
		touched := false
		t := slices.Clone(now)
		for d, a := range y {
			if a >= 0 && r.count(a) != g.axes[a].Size {
				touched = true
				if t[d] > 0 {
					t[d] = int64(r.count(a))
				}
			}
		}
		switch {
		case !touched:
		case n.Graph().Opset("") < 5:
			n.SetAttr(ir.IntsAttr("shape", t))
		default:
			r.setOperand(n, 1, ir.TensorOf(t))
		}
		return nil
	}
}

// entries is the shape of a Reshape as numbers, 0 and -1.
func (g *Graph) entries(n *ir.Node, y []int32) ([]int64, bool) {
	if n.Graph().Opset("") < 5 {
		s := n.Ints("shape")
		return s, len(s) == len(y)
	}
	if s, ok := g.known(n.Operand(1)); ok {
		return s, len(s) == len(y)
	}
	in, ok1 := g.dims(n.Operand(0))
	out, ok2 := g.dims(n.Result(0))
	if !ok1 || !ok2 || len(out) != len(y) || n.Int("allowzero", 0) != 0 {
		return nil, false
	}
	r := make([]int64, len(out))
	free := 0
	for d := range out {
		c, number := out[d].Const()
		switch {
		case number && c > 0:
			r[d] = c
		case d < len(in) && in[d].Same(out[d]):
			r[d] = 0
		default:
			r[d] = -1
			free++
		}
	}
	return r, free <= 1
}

// flatten makes dimensions before and from axis on two.
func (g *Graph) flatten(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	axis := int(n.Int("axis", 1))
	if axis < 0 {
		axis += len(x)
	}
	if x == nil || len(y) != 2 || axis < 0 || axis > len(x) {
		return noRank
	}
	for k, part := range [][]int32{x[:axis], x[axis:]} {
		g.run(n, part, y[k:k+1])
	}
	return ""
}

// depthToSpace: the channels are blocks × blocks × channels of the result, or with the mode CRD, those before the blocks.
func (g *Graph) depthToSpace(n *ir.Node) string {
	return g.blocks(n, g.operand(n, 0), g.ofValue(n.Result(0)), n.Str("mode", "DCR") == "CRD")
}

// spaceToDepth: the channels of the result are blocks × blocks × channels.
func (g *Graph) spaceToDepth(n *ir.Node) string {
	return g.blocks(n, g.ofValue(n.Result(0)), g.operand(n, 0), false)
}

// blocks relates the many channels of deep to the few of flat.
func (g *Graph) blocks(n *ir.Node, deep, flat []int32, first bool) string {
	if len(deep) != 4 || len(flat) != 4 {
		return noRank
	}
	g.equal(n, deep[0], flat[0])
	g.fixAll(slices.Concat(deep[2:], flat[2:]), NodeLabel(n)+" rearranges it")
	b := int(n.Int("blocksize", 1))
	if b <= 1 {
		g.equal(n, deep[1], flat[1])
		return ""
	}
	own := []int32{g.own(n, b), g.own(n, b)}
	g.fixAll(own, NodeLabel(n)+" has blocks of that size")
	if first {
		g.product(n, deep[1], flat[1], own[0], own[1])
	} else {
		g.product(n, deep[1], own[0], own[1], flat[1])
	}
	return ""
}

// resize: dimensions that keep their size go through.
func (g *Graph) resize(n *ir.Node) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	if len(x) != len(y) || x == nil || n.Str("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
		return noRank
	}
	if p := n.Str("keep_aspect_ratio_policy", "stretch"); p != "stretch" {
		return "keeps the aspect ratio"
	}
	kept, sizes, ok := g.scales(n, len(x))
	if !ok {
		return "scales by what is not known"
	}
	for d := range x {
		if kept[d] {
			g.equal(n, x[d], y[d])
		} else {
			g.fixAll([]int32{x[d], y[d]}, NodeLabel(n)+" scales it")
		}
	}
	if sizes == nil {
		return ""
	}
	axes := n.Ints("axes")
	g.fixups[n] = func(r *removal) error {
		now, touched := slices.Clone(sizes), false
		for k := range now {
			d := int64(k)
			if axes != nil {
				d = axes[k]
			}
			if d < 0 {
				d += int64(len(y))
			}
			if a := y[d]; a >= 0 && r.count(a) != g.axes[a].Size {
				now[k], touched = int64(r.count(a)), true
			}
		}
		if touched {
			r.setOperand(n, 3, ir.TensorOf(now))
		}
		return nil
	}
	return ""
}

// scales says which dimensions a Resize surely keeps, and its sizes if it is given by those.
func (g *Graph) scales(n *ir.Node, rank int) (kept []bool, sizes []int64, ok bool) {
	kept = make([]bool, rank)
	axes := n.Ints("axes")
	if axes == nil {
		for d := range rank {
			axes = append(axes, int64(d))
		}
	}
	at, good := places(axes, rank)
	if !good {
		return nil, nil, false
	}
	for d := range kept {
		kept[d] = !at[d]
	}
	mark := func(k int, same bool) {
		d := axes[k]
		if d < 0 {
			d += int64(rank)
		}
		kept[d] = same
	}
	var scales []float32
	operand := n.Operand(2)
	if n.Op().Type == "Upsample" || n.Graph().Opset("") < 11 {
		operand = n.Operand(1)
	}
	if a := n.Attr("scales"); a != nil {
		scales = a.Floats()
	} else if t := operand.Const(); t != nil && t.Len() > 0 && t.DType() == ir.Float32 {
		scales, _ = ir.Elements[float32](t)
	}
	if len(scales) == len(axes) {
		for k, s := range scales {
			mark(k, s == 1)
		}
		return kept, nil, true
	}
	if n.Operand(3) == nil {
		return nil, nil, false
	}
	elems, known := g.facts.Ints(n.Operand(3))
	in, ranked := g.dims(n.Operand(0))
	if !known || !ranked || len(elems) != len(axes) {
		return nil, nil, false
	}
	sizes, constant := g.known(n.Operand(3))
	for k, e := range elems {
		d := axes[k]
		if d < 0 {
			d += int64(rank)
		}
		_, number := e.Const()
		mark(k, e.Same(in[d]) && (constant || !number)) // a number within a computed list cannot be made to follow
	}
	if !constant {
		sizes = nil
	}
	return kept, sizes, true
}

// readSizes lists the dimensions of operand 0 that the result of a Shape or Size is used for.
func (g *Graph) readSizes(n *ir.Node, rank int) []int {
	var all []int
	lo, hi := 0, rank
	if n.Op().Type == "Shape" {
		if a := n.Attr("start"); a != nil {
			lo = bound(a.Int(), rank)
		}
		if a := n.Attr("end"); a != nil {
			hi = bound(a.Int(), rank)
		}
	}
	for d := lo; d < hi; d++ {
		all = append(all, d)
	}
	if n.Op().Type == "Size" {
		return all
	}
	var r []int
	for u := range n.Result(0).Uses() {
		switch {
		case u.Node.Graph() == n.Graph() && u.Node.Is("Gather") && u.Index == 0:
			idx, ok := g.known(u.Node.Operand(1))
			if !ok {
				return all
			}
			for _, i := range idx {
				if i < 0 {
					i += int64(len(all))
				}
				if i >= 0 && i < int64(len(all)) {
					r = append(r, all[i])
				}
			}
		case u.Node.Graph() == n.Graph() && u.Node.Is("Slice") && u.Index == 0:
			cut, ok := g.cuts(u.Node, 1)
			if !ok || cut[0] == nil || cut[0].step != 1 {
				return all
			}
			if s, e := bound(cut[0].start, len(all)), bound(cut[0].end, len(all)); s < e {
				r = append(r, all[s:e]...)
			}
		default:
			return all
		}
	}
	return r
}
