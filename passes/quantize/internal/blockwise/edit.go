package blockwise

import (
	"github.com/onnxopt/onnxopt/ir"
)

// standard puts a DequantizeLinear before each use.
func (a *applier) standard(t *target, j *job) {
	w := t.w.Const()
	g := t.w.Graph()
	shape := w.Shape()
	blocks := []int64{shape[0], shape[1]}
	blocks[t.inputs] = int64(j.blocks())
	d := map[int]ir.DType{4: ir.Uint4, 8: ir.Uint8}[j.spec.Bits]
	if j.signed {
		d = map[int]ir.DType{4: ir.Int4, 8: ir.Int8}[j.spec.Bits]
	}
	name := t.w.Name()
	in := []*ir.Value{
		g.NamedConst(suffixed(name, "_quantized"), j.tensor(a.cache, d, shape, func(p *parts) []byte { return p.steps })),
		g.NamedConst(suffixed(name, "_scale"), j.tensor(a.cache, w.DType(), blocks, func(p *parts) []byte { return p.scales })),
	}
	if !j.spec.Symmetric {
		in = append(in, g.NamedConst(suffixed(name, "_zero_point"), j.tensor(a.cache, d, blocks, func(p *parts) []byte { return p.zeros })))
	}
	done := map[*ir.Node]bool{}
	for _, u := range t.uses {
		n, i := u.node, u.operand
		if u.transpose != nil {
			n, i = u.transpose, 0
		}
		if done[n] {
			continue
		}
		done[n] = true
		q := n.Graph().New(n, ir.Op("DequantizeLinear"), in, ir.IntAttr("axis", int64(t.inputs)), ir.IntAttr("block_size", int64(j.spec.Block)))
		q.Result(0).SetType(w.Type())
		n.SetOperand(i, q.Result(0))
	}
	a.erase(t.w)
}

func suffixed(name, s string) string {
	if name == "" {
		return ""
	}
	return name + s
}

// packed puts operators of ONNX Runtime's in place of each use.
func (a *applier) packed(t *target, j *job) {
	w, g, name := t.w.Const(), t.w.Graph(), t.w.Name()
	n, k, bits, block := int64(j.m.n), int64(j.m.k), int64(j.spec.Bits), int64(j.spec.Block)
	blocks := int64(j.blocks())
	shape := []int64{n, blocks, block * bits / 8}
	if t.embedding() {
		shape = []int64{n, k * bits / 8}
	}
	data := g.NamedConst(suffixed(name, "_quantized"), j.tensor(a.cache, ir.Uint8, shape, func(p *parts) []byte { return p.steps }))
	scales := g.NamedConst(suffixed(name, "_scale"), j.tensor(a.cache, w.DType(), []int64{n, blocks}, func(p *parts) []byte { return p.scales }))
	var zeros *ir.Value
	if !j.spec.Symmetric {
		zeros = g.NamedConst(suffixed(name, "_zero_point"), j.tensor(a.cache, ir.Uint8, []int64{n, (blocks*bits + 7) / 8}, func(p *parts) []byte { return p.zeros }))
	}
	if a.m.Opset("com.microsoft") == 0 {
		a.m.SetOpset("com.microsoft", 1)
	}
	var folded *ir.Value // data as products want it
	for _, u := range t.uses {
		var r *ir.Node
		h := u.node.Graph()
		if u.gathers() {
			in := trim(data, u.node.Operand(1), scales, zeros)
			r = h.New(u.node, ir.OpID{Domain: "com.microsoft", Type: "GatherBlockQuantized"}, in, ir.IntAttr("bits", bits), ir.IntAttr("block_size", block),
				ir.IntAttr("gather_axis", 0), ir.IntAttr("quantize_axis", 1))
		} else {
			b := data
			if t.embedding() { // the table of a tied head is stored once
				if folded == nil {
					s := g.New(u.node0(g), ir.Op("Reshape"), []*ir.Value{data, g.Const(ir.TensorOf([]int64{n, blocks, block * bits / 8}))})
					s.Result(0).SetType(ir.TensorType(ir.Uint8, ir.StaticShape(n, blocks, block*bits/8)))
					folded = s.Result(0)
				}
				b = folded
			}
			attrs := []*ir.Attr{ir.IntAttr("K", k), ir.IntAttr("N", n), ir.IntAttr("bits", bits), ir.IntAttr("block_size", block)}
			if a.o.Accuracy != 0 {
				attrs = append(attrs, ir.IntAttr("accuracy_level", a.o.Accuracy))
			}
			var bias *ir.Value
			if u.node.Is("Gemm") {
				bias = u.node.Operand(2)
			}
			r = h.New(u.node, ir.OpID{Domain: "com.microsoft", Type: "MatMulNBits"}, trim(u.node.Operand(0), b, scales, zeros, nil, bias), attrs...)
		}
		r.SetName(u.node.Name())
		if ty := u.node.Result(0).Type(); ty != nil {
			r.Result(0).SetType(ty)
		}
		u.node.Result(0).ReplaceUses(r.Result(0))
		h.Erase(u.node)
		if u.transpose != nil && !u.transpose.Dead() && !u.transpose.Used() {
			u.transpose.Graph().Erase(u.transpose)
		}
	}
	a.erase(t.w)
}

// node0 is the node of the use if it is in g, else nil: where a node that g's graph needs may stand.
func (u use) node0(g *ir.Graph) *ir.Node {
	if u.node.Graph() == g {
		return u.node
	}
	return nil
}

// trim leaves out omitted operands at the end.
func trim(v ...*ir.Value) []*ir.Value {
	for len(v) > 0 && v[len(v)-1] == nil {
		v = v[:len(v)-1]
	}
	return v
}

// erase removes a weight that nobody uses any more.
func (a *applier) erase(v *ir.Value) {
	if v.NumUses() > 0 {
		return
	}
	if n := v.Node(); n != nil {
		n.Graph().Erase(n)
	} else {
		v.Graph().EraseConst(v)
	}
}
