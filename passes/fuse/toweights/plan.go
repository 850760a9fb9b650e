package toweights

import (
	"errors"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// step says how a value with the arithmetic done to it is made: by a node like the one that makes it now, of operands with the
// arithmetic done to them, or by the arithmetic itself.
type step struct {
	v        *ir.Value
	node     *ir.Node           // nil: the arithmetic is done here
	from     map[int]*step      // of the operands of node
	new      map[int]*ir.Tensor // operands of node that are constants
	constant *ir.Tensor         // of the arithmetic
}

// far is the number of steps up to which a way is followed.
const far = 32

// back plans and makes the move to what comes before.
func (a *arithmetic) back(c *passes.Context) bool {
	if n := a.x.Node(); n == nil || n.Is("Add", "Sub") && a.add || a.at(n) {
		return false // it stands there already, or sums would change places for nothing
	}
	s, err := a.plan(a.x, a.factor)
	if err != nil {
		c.Remark(a.node, back, err.Error())
		return false
	}
	return c.Rewrite(back, a.node, s.nodes(nil), func() {
		z := s.build(a)
		a.node.Result(0).ReplaceUses(z)
		g := a.node.Graph()
		g.Erase(a.node)
		for _, n := range s.nodes(nil) {
			if !n.Used() {
				g.Erase(n)
			}
		}
	})
}

// at reports whether n takes the arithmetic in as it is.
func (a *arithmetic) at(n *ir.Node) bool { return n.Is("MatMul", "Gemm", "Conv", "ConvTranspose") }

// plan says how v*f, or v+f, is made where v has no other use.
func (a *arithmetic) plan(v *ir.Value, f factor) (*step, error) {
	n := v.Node()
	dims, ok := a.facts.Dims(v)
	switch {
	case n == nil || n.Graph() != a.node.Graph() || n.HasRefs() || n.Op().Domain != "":
		return nil, errWeights
	case v.NumUses() != 1:
		return nil, errUses
	case len(a.seen) > far:
		return nil, errFar
	case a.seen[n]: // two parts of one Split
		return nil, errUses
	case !ok:
		return nil, errShape
	}
	a.seen[n] = true
	switch n.Op().Type {
	case "MatMul", "Gemm", "Conv", "ConvTranspose":
		return a.arrive(v, f, dims)
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity":
		from, ok := a.facts.Dims(n.Operand(0))
		g, ok2 := f.reshaped(dims, from)
		if !ok || !ok2 {
			return nil, errShape
		}
		return a.through(v, g)
	case "Transpose":
		if !permutes(n, len(dims)) {
			return nil, errShape
		}
		return a.through(v, f.moved(n, len(dims), false))
	case "Concat":
		return a.concat(v, dims, f)
	case "Split":
		return a.split(v, dims, f)
	case "Pad":
		if !a.padded(n, f) {
			return nil, errShape
		}
		return a.through(v, f)
	case "Add", "Sub":
		return a.sum(v, dims, f)
	}
	return nil, errWeights
}

func (a *arithmetic) through(v *ir.Value, f factor) (*step, error) {
	in, err := a.plan(v.Node().Operand(0), f)
	return &step{v: v, node: v.Node(), from: map[int]*step{0: in}}, err
}

// arrive ends the way at a product or convolution.
func (a *arithmetic) arrive(v *ir.Value, f factor, dims []infer.Int) (*step, error) {
	n := v.Node()
	axis := len(dims) - 1
	if n.Is("Conv", "ConvTranspose") {
		axis = 1
	}
	if err := a.takes(n, true); err != nil {
		return nil, err
	}
	if _, ok := f.on(axis); !ok {
		return nil, errShape
	}
	t, err := f.constant(a.dtype, len(dims))
	return &step{v: v, constant: t}, err
}

// permutes reports whether a Transpose of values of that rank states a permutation, or none.
func permutes(n *ir.Node, rank int) bool {
	perm := n.Ints("perm")
	if n.Attr("perm") == nil {
		return true
	}
	sorted := slices.Sorted(slices.Values(perm))
	for i, p := range sorted {
		if p != int64(i) {
			return false
		}
	}
	return len(perm) == rank
}

// moved is the factor behind a Transpose of values of that rank, or before it.
func (f factor) moved(n *ir.Node, rank int, behind bool) factor {
	if f.single() {
		return f
	}
	perm := n.Ints("perm")
	switch {
	case perm == nil:
		return factor{rank - 1 - f.axis, f.v}
	case behind:
		return factor{slices.Index(perm, int64(f.axis)), f.v}
	}
	return factor{int(perm[f.axis]), f.v}
}

// concat goes on with each operand: a part of the numbers, or all of them.
func (a *arithmetic) concat(v *ir.Value, dims []infer.Int, f factor) (*step, error) {
	n := v.Node()
	s := &step{v: v, node: n, from: map[int]*step{}}
	joined := int(ops.Int(n, "axis"))
	if joined < 0 {
		joined += len(dims)
	}
	axis, each := f.axis, f.v
	at := int64(0)
	for i, x := range n.Operands() {
		from, known := a.facts.Dims(x)
		if !known || len(from) != len(dims) {
			return nil, errShape
		}
		g := f
		if axis >= 0 {
			part := each
			if axis == joined {
				size, static := from[axis].Const()
				if !static || at+size > int64(len(each)) || size == 0 {
					return nil, errShape
				}
				part = each[at : at+size]
				at += size
			}
			var ok bool
			if g, ok = along(part, axis, from); !ok {
				return nil, errShape
			}
		}
		var err error
		if s.from[i], err = a.plan(x, g); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// split goes on with what is split, whose other parts get the number that changes nothing.
func (a *arithmetic) split(v *ir.Value, dims []infer.Int, f factor) (*step, error) {
	n := v.Node()
	from, ok := a.facts.Dims(n.Operand(0))
	axis := int(ops.Int(n, "axis"))
	if axis < 0 {
		axis += len(dims)
	}
	if !ok || axis < 0 || axis >= len(dims) || len(from) != len(dims) {
		return nil, errShape
	}
	part, ok := f.on(axis)
	if !ok {
		return nil, errShape
	}
	neutral := 1.0
	if a.add {
		neutral = 0
	}
	var each []float64
	for _, r := range n.Results() {
		d, ok := a.facts.Dims(r)
		if r == nil || !ok {
			return nil, errShape
		}
		size, static := d[axis].Const()
		if !static || size < 1 || int64(len(each))+size > longest {
			return nil, errShape
		}
		switch {
		case r != v:
			each = append(each, slices.Repeat([]float64{neutral}, int(size))...)
		case len(part) == 1:
			each = append(each, slices.Repeat(part, int(size))...)
		default:
			each = append(each, part...)
		}
	}
	g, ok := along(each, axis, from)
	if !ok {
		return nil, errShape
	}
	return a.through(v, g)
}

// padded reports whether a factor is the same before a Pad as behind it: the padding is zeros, which stay zeros, and the axis along which the factor
// has its numbers is not padded.
func (a *arithmetic) padded(n *ir.Node, f factor) bool {
	if a.add || n.Str("mode", "constant") != "constant" || n.Graph().Opset("") < 11 || !finite(f.v) {
		return false
	}
	if v := n.Operand(2); v != nil {
		t := v.Const()
		if t == nil || t.Len() != 1 || t.DType() != a.dtype {
			return false
		}
		z, err := weights.Floats(t)
		if err != nil || z[0] != 0 {
			return false
		}
	}
	if f.single() {
		return true
	}
	pads, ok := a.facts.Ints(n.Operand(1))
	rank := len(pads) / 2
	return ok && n.Operand(3) == nil && f.axis < rank && pads[f.axis].Is(0) && pads[f.axis+rank].Is(0)
}

func finite(v []float64) bool {
	return !slices.ContainsFunc(v, func(x float64) bool { return x-x != 0 })
}

// sum multiplies both sides of a sum with a constant: (u + b)*s = u*s + b*s.
func (a *arithmetic) sum(v *ir.Value, dims []infer.Int, f factor) (*step, error) {
	n := v.Node()
	if a.add {
		return nil, errWeights
	}
	k := 1
	if n.Operand(0).Const() != nil {
		k = 0
	}
	b, u := n.Operand(k).Const(), n.Operand(1-k)
	if b == nil || b.DType() != a.dtype || b.Len() < 1 || b.Len() > longest || !a.facts.SameShape(u, v) || b.Rank() > len(dims) {
		return nil, errWeights
	}
	if b.Len() > small && n.Operand(k).NumUses() > 1 {
		return nil, errors.New("a large constant that is added has other uses, too, and would be there twice")
	}
	last := len(dims) - 1
	var each []float64
	for i, d := range b.Shape() {
		if d != 1 && (i != b.Rank()-1 || !dims[last].Is(d)) && !f.single() {
			return nil, errShape
		}
	}
	old, err := weights.Floats(b)
	if err != nil {
		return nil, err
	}
	shape := b.Shape()
	if f.single() {
		for _, x := range old {
			each = append(each, x*f.v[0])
		}
	} else {
		s, ok := f.on(last)
		if !ok {
			return nil, errShape
		}
		for i, x := range s {
			each = append(each, old[i%len(old)]*x)
		}
		shape = []int64{int64(len(s))}
	}
	t, err := weights.Round(a.dtype, shape, each)
	if err != nil {
		return nil, err
	}
	in, err := a.plan(u, f)
	return &step{v: v, node: n, from: map[int]*step{1 - k: in}, new: map[int]*ir.Tensor{k: t}}, err
}

// small is the number of elements of a constant that may be there twice.
const small = 64

// nodes appends the nodes that are made anew, users first.
func (s *step) nodes(r []*ir.Node) []*ir.Node {
	if s.node == nil {
		return r
	}
	r = append(r, s.node)
	for i := range s.node.NumOperands() {
		if in := s.from[i]; in != nil {
			r = in.nodes(r)
		}
	}
	return r
}

// build makes the value that s describes.
func (s *step) build(a *arithmetic) *ir.Value {
	if s.node == nil {
		return a.make(s.v, s.constant)
	}
	in := slices.Clone(s.node.Operands())
	for i := range in {
		if s.from[i] != nil {
			in[i] = s.from[i].build(a)
		} else if t := s.new[i]; t != nil {
			in[i] = s.node.Graph().NamedConst("", t)
		}
	}
	return remake(a.node, s.node, in, s.v)
}

// remake makes a node like n with other operands before near, gives other results of n to those who use them, and returns the one that takes the place of v.
func remake(near, n *ir.Node, in []*ir.Value, v *ir.Value) (r *ir.Value) {
	k := near.Graph().NewN(near, n.Op(), in, n.NumResults(), n.Attrs()...)
	k.SetName(n.Name())
	k.SetMeta(n.Meta())
	for i, old := range n.Results() {
		if old == v {
			r = k.Result(i)
		} else if old != nil {
			old.ReplaceUses(k.Result(i))
		}
	}
	return r
}

// make does the arithmetic on v with another constant.
func (a *arithmetic) make(v *ir.Value, t *ir.Tensor) *ir.Value {
	op := "Mul"
	if a.add {
		op = "Add"
	}
	g := a.node.Graph()
	k := g.New(a.node, ir.Op(op), []*ir.Value{v, g.NamedConst("", t)})
	k.SetName(a.node.Name())
	return k.Result(0)
}
