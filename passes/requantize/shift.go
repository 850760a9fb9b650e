package requantize

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// shifter changes the element type of quantized values.
type shifter struct {
	c        *passes.Context
	f        *facts.Facts
	from, to ir.DType
	parent   map[*ir.Value]*ir.Value // values that have to be of one type
	refused  map[*ir.Value]string    // by root: why they keep it
	moved    map[*ir.Value]*ir.Value // zero points by what they were: those that were one stay one
}

// shift changes every group of connected values of type from, constant weights excepted.
func shift(c *passes.Context, m *ir.Model, from, to ir.DType) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	s := &shifter{c: c, f: f, from: from, to: to, parent: map[*ir.Value]*ir.Value{}, refused: map[*ir.Value]string{}, moved: map[*ir.Value]*ir.Value{}}
	var values []*ir.Value
	for n := range m.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Const() == nil && f.DType(v) == from {
				values = append(values, v)
			}
		}
	}
	for n := range m.Nodes() {
		s.look(n)
	}
	for _, g := range m.Graphs() { // subgraphs hand on what others see, too
		for i := range g.Outputs() {
			s.refuse(g.Return().Operand(i), "an output gives it")
		}
	}
	groups := map[*ir.Value][]*ir.Value{}
	var roots []*ir.Value
	for _, v := range values {
		r := s.root(v)
		if groups[r] == nil {
			roots = append(roots, r)
		}
		groups[r] = append(groups[r], v)
	}
	for _, r := range roots {
		if err := s.group(groups[r], s.refused[r]); err != nil {
			return err
		}
	}
	return nil
}

func (s *shifter) root(v *ir.Value) *ir.Value {
	for s.parent[v] != nil {
		v = s.parent[v]
	}
	return v
}

func (s *shifter) join(v, w *ir.Value) {
	a, b := s.root(v), s.root(w)
	if a == b {
		return
	}
	s.parent[b] = a
	if why := s.refused[b]; why != "" && s.refused[a] == "" {
		s.refused[a] = why
	}
}

func (s *shifter) refuse(v *ir.Value, why string) {
	if v == nil || s.f.DType(v) != s.from {
		return
	}
	if r := s.root(v); s.refused[r] == "" {
		s.refused[r] = why
	}
}

// roles says which operands of n are quantized numbers that may be moved, with the operand that is the zero point of each; and which
// operand is the zero point of its results. ok is false for operators that do not read numbers so.
func roles(n *ir.Node) (in map[int]int, out int, ok bool) {
	switch {
	case n.Is("QuantizeLinear"):
		return nil, 2, true
	case n.Is("DequantizeLinear"):
		return map[int]int{0: 2}, -1, true
	case n.Is("QLinearConv"):
		return map[int]int{0: 2}, 7, true
	case n.Is("QLinearMatMul"):
		return map[int]int{0: 2}, 7, true
	case n.Is("ConvInteger", "MatMulInteger"):
		return map[int]int{0: 2}, -1, true
	}
	return nil, -1, false
}

// moves reports whether n gives numbers as it takes them, at operand 0, or at all for Concat.
func moves(n *ir.Node) bool {
	return n.Is("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand", "Tile", "Identity", "DepthToSpace", "SpaceToDepth", "Split",
		"MaxPool", "Concat")
}

// look joins the values that n connects, and refuses those that it reads in another way.
func (s *shifter) look(n *ir.Node) {
	if moves(n) && (!n.Is("MaxPool") || n.NumResults() == 1) {
		var first *ir.Value
		for i, v := range n.Operands() {
			if i > 0 && !n.Is("Concat") || v == nil || s.f.DType(v) != s.from {
				continue
			}
			if v.Const() != nil || v.Node() == nil { // its numbers would have to change as well
				s.refuseAll(n, "a constant or an input takes part")
				return
			}
			if first == nil {
				first = v
			}
			s.join(first, v)
		}
		for _, v := range n.Results() {
			if v == nil || s.f.DType(v) != s.from {
				continue
			}
			if first == nil {
				s.refuse(v, "it comes from elsewhere")
				continue
			}
			s.join(first, v)
		}
		return
	}
	in, out, ok := roles(n)
	if x, y := n.Operand(0), n.Result(0); n.Is("QLinearConv", "QLinearMatMul") { // ONNX Runtime has them of one type only
		if s.f.DType(y) == s.from {
			if x.Const() != nil || x.Node() == nil || s.f.DType(x) != s.from {
				s.refuse(y, n.String()+" takes a constant, an input or another type")
			} else {
				s.join(x, y)
			}
		}
	}
	for i, v := range n.Operands() {
		if v == nil || s.f.DType(v) != s.from || v.Const() != nil {
			continue
		}
		z, plain := in[i]
		switch {
		case !ok || !plain:
			s.refuse(v, n.String()+" computes with it")
		case n.Operand(z) != nil && n.Operand(z).Const() == nil:
			s.refuse(v, "its zero point is no constant")
		}
	}
	for _, v := range n.Results() {
		if v == nil || s.f.DType(v) != s.from {
			continue
		}
		switch {
		case !ok || out < 0:
			s.refuse(v, n.String()+" makes it")
		case n.Operand(out) != nil && n.Operand(out).Const() == nil:
			s.refuse(v, "its zero point is no constant")
		case n.Operand(out) == nil && n.Int("output_dtype", 0) != 0:
			s.refuse(v, "its quantizer states the type")
		}
	}
}

// refuseAll refuses everything of the type that n touches.
func (s *shifter) refuseAll(n *ir.Node, why string) {
	for _, v := range n.Operands() {
		if v != nil && v.Const() == nil {
			s.refuse(v, why)
		}
	}
	for _, v := range n.Results() {
		s.refuse(v, why)
	}
}

// group changes connected values in one rewrite.
func (s *shifter) group(vs []*ir.Value, why string) error {
	at := vs[0].Node()
	for _, v := range vs {
		for u := range v.Uses() {
			if !s.c.Selected(u.Node) && !u.Node.IsReturn() {
				why = "a node that uses it is not selected"
			}
		}
		if s.to == ir.Int8 && why == "" {
			why = s.noInt8(v)
		}
	}
	if why != "" {
		s.c.Remark(at, ruleType, why)
		return nil
	}
	member := map[*ir.Value]bool{}
	var of []*ir.Node
	for _, v := range vs {
		member[v] = true
		if v.Node() != at {
			of = append(of, v.Node())
		}
	}
	var err error
	s.c.Rewrite(ruleType, at, of, func() {
		for _, v := range vs {
			if _, out, ok := roles(v.Node()); ok {
				err = s.point(v.Node(), out, err)
			}
			for u := range v.Uses() {
				if in, _, ok := roles(u.Node); ok {
					if z, plain := in[u.Index]; plain {
						err = s.point(u.Node, z, err)
					}
				}
			}
			if t := v.Type(); t != nil {
				r := *t
				r.Elem = s.to
				v.SetType(&r)
			}
		}
	})
	return err
}

// noInt8 is why v, of uint8, cannot be int8: ONNX Runtime multiplies int8 by weights of int8 only.
func (s *shifter) noInt8(v *ir.Value) string {
	for u := range v.Uses() {
		w := map[bool]int{true: 3, false: 1}[u.Node.Is("QLinearConv", "QLinearMatMul")]
		if u.Node.Is("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger") && s.f.DType(u.Node.Operand(w)) == ir.Uint8 {
			return u.Node.String() + " has weights of uint8"
		}
	}
	return ""
}

// point moves the zero point at operand i of n; an omitted one is 0 of uint8, or of the type of the numbers.
func (s *shifter) point(n *ir.Node, i int, err error) error {
	if err != nil {
		return err
	}
	z := n.Operand(i)
	if z == nil {
		var t *ir.Tensor
		if s.to == ir.Int8 {
			t = ir.ScalarOf(int8(-128))
		} else {
			t = ir.ScalarOf(uint8(128))
		}
		scale := n.Operand(1)
		if sh := s.f.Shape(scale); len(sh) == 1 { // a zero point has the shape of the scale
			k, ok := sh.Ints()
			if !ok {
				return nil
			}
			b := make([]byte, k[0])
			for j := range b {
				b[j] = 0x80
			}
			t = ir.NewTensor(s.to, k, b)
		}
		for n.NumOperands() <= i {
			n.AddOperand(nil)
		}
		n.SetOperand(i, n.Graph().Const(t))
		return nil
	}
	t := z.Const()
	if t.DType() != s.from {
		return nil // moved already: one zero point of two roles of the node
	}
	g := z.Graph()
	if w := s.moved[z]; w == nil || w.Dead() {
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		r := make([]byte, len(b))
		for j, x := range b {
			r[j] = x ^ 0x80
		}
		s.moved[z] = g.NamedConst(z.Name(), ir.NewTensor(s.to, t.Shape(), r))
	}
	n.SetOperand(i, s.moved[z])
	if z.NumUses() == 0 {
		if d := z.Node(); d != nil {
			g.Erase(d)
		} else {
			g.EraseConst(z)
		}
	}
	return nil
}
