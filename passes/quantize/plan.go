package quantize

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// kind is how an operator computes in integers.
type kind uint8

const (
	weighted kind = iota // a product with constant weights
	light                // operands of different scales
	sharing              // operand and result have one scale
)

// unit is an operator that is to compute in integers, with the Relu or Clip behind it that the quantizer of its result stands for.
type unit struct {
	node   *ir.Node
	source *ir.Node // the node of the model, of which node is one of a copy
	kind   kind
	acts   []int // operands that are activations
	weight int   // operand of the weights, -1 if there are none
	bias   int   // operand of a constant bias, -1
	axis   int   // of output channels in the weights
	out    *ir.Value
	clamp  *ir.Node // the Relu or Clip, nil
	float  bool     // the result stays float: no integer operator needs it
}

// site is a tensor that is stored in integers.
type site struct {
	value *ir.Value
	group *group
	from  *unit // that computes it; nil: a float operator does, or it is an input
	given bool  // the result of a DequantizeLinear that is there already
}

// group is the tensors that share a scale.
type group struct {
	root  *ir.Value // whose range counts
	sites []*site
	q     qparams
}

// verdict is why an operator stays as it is.
type verdict struct {
	node *ir.Node
	why  string
}

// plan is what is going to be quantized.
type plan struct {
	c     *passes.Context
	m     *ir.Model
	facts *facts.Facts
	o     Options
	p     Profile
	over  overrides

	units  []*unit // in the order of the graph
	byNode map[*ir.Node]*unit
	sites  []*site
	byVal  map[*ir.Value]*site
	groups []*group
	kept   []verdict
	exempt map[*ir.Node]string // nodes that are to stay float, and why
	tuned  map[*ir.Node]*tuned // weights that were learned, by node of the model
	// known are the parameters of tensors by value of the model, once they are chosen.
	known map[*ir.Value]qparams
	zeros string // what calibration has to say: that it goes on, inputs that are nothing but zero
	// trial marks a plan on a copy, whose edits are nobody's business.
	trial bool
}

// newPlan finds the operators and tensors.
func newPlan(c *passes.Context, m *ir.Model, o Options, p Profile, over overrides, exempt map[*ir.Node]string) (*plan, error) {
	f, err := facts.Of(c)
	if err != nil {
		return nil, err
	}
	all := over.exempt(m)
	maps.Copy(all, exempt)
	pl := &plan{c: c, m: m, facts: f, o: o, p: p, over: over, exempt: all}
	pl.collect()
	pl.settle()
	pl.place()
	return pl, nil
}

// collect takes every operator that may be quantized.
func (p *plan) collect() {
	p.byNode = map[*ir.Node]*unit{}
	for n := range p.m.Main.Nodes() {
		u, why := p.candidate(n)
		switch {
		case u != nil:
			p.units = append(p.units, u)
			p.byNode[n] = u
		case why != "":
			p.kept = append(p.kept, verdict{n, why})
		}
	}
	for _, g := range p.m.Graphs() {
		if g == p.m.Main {
			continue
		}
		for n := range g.Nodes() {
			if slices.Contains(p.p.Weighted, n.Op().Type) && n.Op().Domain == "" {
				p.kept = append(p.kept, verdict{n, "it is in " + g.Path() + ", and calibration sees the main graph alone"})
			}
		}
	}
}

// candidate is the unit of a node, or why there is none; neither for nodes that nobody would expect to be quantized.
func (p *plan) candidate(n *ir.Node) (*unit, string) {
	op := n.Op().Type
	isWeighted := slices.Contains(p.p.Weighted, op)
	if !n.Is(op) || !isWeighted && !slices.Contains(p.p.Light, op) && !slices.Contains(p.p.Sharing, op) {
		return nil, ""
	}
	if why := p.exempt[n]; why != "" {
		return nil, why
	}
	if !p.c.Enabled("activation", n) {
		return nil, "only=, except= or --skip leaves it out"
	}
	if !p.floatResult(n) {
		return nil, ""
	}
	u := &unit{node: n, source: n, weight: -1, bias: -1, out: n.Result(0)}
	switch {
	case isWeighted:
		u.kind = weighted
		if why := p.weighted(u); why != "" {
			return nil, why
		}
	case slices.Contains(p.p.Light, op):
		u.kind = light
		if !p.light(u) {
			return nil, ""
		}
	default:
		u.kind = sharing
		if !p.sharing(u) {
			return nil, ""
		}
	}
	return u, ""
}

// floatResult reports whether the results are float32, so far as is known.
func (p *plan) floatResult(n *ir.Node) bool {
	d := p.facts.DType(n.Result(0))
	if d == ir.Undefined {
		d = p.facts.DType(n.Operand(0))
	}
	return n.Result(0) != nil && d == ir.Float32
}

// weighted fills in what a product takes, or says why it cannot be quantized.
func (p *plan) weighted(u *unit) string {
	n := u.node
	u.acts, u.weight = []int{0}, 1
	w := n.Operand(1).Const()
	if d := n.Operand(1); w == nil && d != nil {
		if dq := d.Node(); dq != nil && dq.Is("DequantizeLinear") {
			return "it is quantized already"
		}
		if n.Is("MatMul") {
			return "both operands are activations"
		}
		return "its weights are not constant"
	}
	if w.DType() != ir.Float32 {
		return "its weights are " + w.DType().String()
	}
	if w.Len() == 0 {
		return "its weights are empty"
	}
	if n.Operand(0).Const() != nil {
		return "its input is constant"
	}
	if !finite(w) {
		return "its weights are not finite"
	}
	switch {
	case n.Is("Conv"):
		if w.Rank() < 3 {
			return fmt.Sprintf("its weights have rank %d", w.Rank())
		}
		u.axis, u.bias = 0, 2
	case n.Is("ConvTranspose"):
		u.axis, u.bias = 1, 2
		if n.Int("group", 1) != 1 {
			u.axis = -1 // a channel of the weights is one of each group
		}
	case n.Is("Gemm"):
		if n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 {
			return "transA, alpha or beta are not what integer kernels take"
		}
		u.axis, u.bias = 1, 2
		if n.Int("transB", 0) != 0 {
			u.axis = 0
		}
	case n.Is("MatMul"):
		if w.Rank() != 2 {
			return fmt.Sprintf("its weights have rank %d", w.Rank())
		}
		u.axis = 1
	}
	if n.Operand(u.bias) == nil {
		u.bias = -1
	}
	if u.bias >= 0 {
		b := n.Operand(u.bias).Const()
		switch {
		case b == nil:
			if dq := n.Operand(u.bias).Node(); dq == nil || !dq.Is("DequantizeLinear") {
				return "its bias is not constant"
			}
			u.bias = -1
		case n.Is("Gemm") && b.Len() != w.Shape()[u.axis]:
			return "its bias is no vector"
		}
	}
	return ""
}

// light fills in what an elementwise operator, pool or Concat takes.
func (p *plan) light(u *unit) bool {
	n := u.node
	for i, v := range n.Operands() {
		if v == nil || v.Const() != nil || p.facts.DType(v) != ir.Float32 {
			return false // with a constant operand float is more exact, and hardly slower
		}
		u.acts = append(u.acts, i)
	}
	switch {
	case n.Is("Add", "Mul"):
		return len(u.acts) == 2
	case n.Is("AveragePool"):
		return n.Int("count_include_pad", 0) == 0 || allZero(n.Ints("pads"))
	case n.Is("Concat"):
		return len(u.acts) > 1
	}
	return len(u.acts) == 1
}

func allZero(v []int64) bool { return !slices.ContainsFunc(v, func(x int64) bool { return x != 0 }) }

// sharing fills in what an operator that moves elements takes.
func (p *plan) sharing(u *unit) bool {
	n := u.node
	u.acts = []int{0}
	if n.Operand(0) == nil || n.Operand(0).Const() != nil {
		return false
	}
	switch {
	case n.Is("Resize"):
		return n.Str("mode", "nearest") == "nearest" || n.Str("mode", "") == "linear" && n.Str("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize"
	case n.Is("MaxPool"):
		return n.NumResults() == 1 || n.Result(1) == nil
	case n.Is("Concat"):
		u.acts = nil
		for i, v := range n.Operands() {
			if v == nil || v.Const() != nil {
				return false
			}
			u.acts = append(u.acts, i)
		}
	case n.Is("Pad"):
		return n.Str("mode", "constant") == "constant" && n.Operand(2) == nil
	}
	return true
}

// settle takes out the units that would gain nothing: light and sharing ones stay only where both what they read and what reads them is
// in integers.
func (p *plan) settle() {
	for changed := true; changed; {
		changed = false
		for _, u := range p.units {
			p.absorb(u)
		}
		for _, u := range slices.Clone(p.units) {
			if u.kind == weighted || p.readsIntegers(u) && p.feedsIntegers(u) {
				continue
			}
			delete(p.byNode, u.node)
			p.units = slices.DeleteFunc(p.units, func(v *unit) bool { return v == u })
			changed = true
		}
	}
	for _, u := range p.units {
		if u.kind == weighted && slices.Contains(p.p.FloatResult, u.node.Op().Type) && !p.feedsIntegers(u) {
			u.float, u.clamp, u.out = true, nil, u.node.Result(0)
		}
	}
}

// absorb notes the Relu or Clip that a quantizer of u's result would stand for.
func (p *plan) absorb(u *unit) {
	u.out, u.clamp = u.node.Result(0), nil
	if u.kind == sharing {
		return
	}
	use, ok := u.out.OnlyUse()
	if !ok || use.Node.IsReturn() || use.Node.Graph() != u.node.Graph() || use.Index != 0 || !use.Node.Is("Relu", "Clip") || p.exempt[use.Node] != "" {
		return
	}
	if _, ok := clampOf(use.Node); !ok || p.p.Symmetric || !p.c.Enabled("clamp", use.Node) {
		return
	}
	u.out, u.clamp = use.Node.Result(0), use.Node
}

// integer reports whether v is in integers anyhow: an operator gives it so, or a weighted one wants it so.
func (p *plan) integer(v *ir.Value) bool {
	if v.Node() != nil && v.Node().Is("DequantizeLinear") {
		return true
	}
	if u := p.producer(v); u != nil && !(u.kind == weighted && slices.Contains(p.p.FloatResult, u.node.Op().Type)) {
		return true
	}
	for use := range v.Uses() {
		if u := p.byNode[use.Node]; u != nil && u.kind == weighted && use.Index == 0 {
			return true
		}
	}
	return false
}

// producer is the unit that computes v, nil if a float operator does.
func (p *plan) producer(v *ir.Value) *unit {
	n := v.Node()
	if n == nil {
		return nil
	}
	if u := p.byNode[n]; u != nil && u.out == v {
		return u
	}
	if n.Is("Relu", "Clip") && n.Operand(0) != nil && n.Operand(0).Node() != nil {
		if u := p.byNode[n.Operand(0).Node()]; u != nil && u.clamp == n {
			return u
		}
	}
	return nil
}

// readsIntegers reports whether all activations that u reads are in integers. What only moves elements may have a float operand: then the
// quantizer goes before it, and it moves bytes.
func (p *plan) readsIntegers(u *unit) bool {
	if u.kind == sharing && u.node.Is("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze") {
		return true
	}
	for _, i := range u.acts {
		if v := u.node.Operand(i); !p.integer(v) {
			if q := p.producer(v); q == nil { // a product with a float result may have an integer one as well
				return false
			}
		}
	}
	return true
}

// feedsIntegers reports whether an operator that computes in integers reads u's result.
func (p *plan) feedsIntegers(u *unit) bool {
	for _, r := range p.results(u) {
		for use := range r.Uses() {
			if v := p.byNode[use.Node]; v != nil && slices.Contains(v.acts, use.Index) {
				return true
			}
		}
	}
	return false
}

// results are the tensors that a unit gives.
func (p *plan) results(u *unit) []*ir.Value {
	if u.kind == sharing && u.node.NumResults() > 1 {
		return slices.DeleteFunc(slices.Clone(u.node.Results()), func(v *ir.Value) bool { return v == nil })
	}
	return []*ir.Value{u.out}
}

// place finds the tensors to be quantized and those that share a scale.
func (p *plan) place() {
	p.byVal = map[*ir.Value]*site{}
	for _, u := range p.units {
		for _, i := range u.acts {
			p.site(u.node.Operand(i))
		}
		if !u.float {
			for _, r := range p.results(u) {
				p.site(r)
			}
		}
		if u.kind == sharing {
			a := p.site(u.node.Operand(u.acts[0]))
			for _, i := range u.acts[1:] {
				p.join(a, p.site(u.node.Operand(i)))
			}
			for _, r := range p.results(u) {
				p.join(a, p.site(r))
			}
		}
	}
	seen := map[*group]bool{}
	for _, s := range p.sites {
		if !seen[s.group] {
			seen[s.group] = true
			p.groups = append(p.groups, s.group)
		}
	}
}

// site is the place of v, made if there is none yet.
func (p *plan) site(v *ir.Value) *site {
	if s := p.byVal[v]; s != nil {
		return s
	}
	s := &site{value: v, from: p.producer(v)}
	s.given = v.Node() != nil && v.Node().Is("DequantizeLinear")
	s.group = &group{root: v, sites: []*site{s}}
	p.byVal[v] = s
	p.sites = append(p.sites, s)
	return s
}

// join makes two sites share a scale, that of a.
func (p *plan) join(a, b *site) {
	if a.group == b.group || a.given && b.given {
		return
	}
	from, to := b.group, a.group
	if slices.ContainsFunc(from.sites, func(s *site) bool { return s.given }) {
		from, to = to, from
	}
	for _, s := range from.sites {
		s.group = to
	}
	to.sites = append(to.sites, from.sites...)
}

// clamp is the range that a Relu or Clip leaves; ok is false where it is not known.
func clampOf(n *ir.Node) (r [2]float64, ok bool) {
	inf := float64(1e300)
	r = [2]float64{-inf, inf}
	if n.Is("Relu") {
		return [2]float64{0, inf}, true
	}
	for i := range 2 {
		v := n.Operand(i + 1)
		if v == nil {
			continue
		}
		x, ok := scalarOf(v.Const())
		if !ok {
			return r, false
		}
		r[i] = x
	}
	return r, r[0] <= 0 && r[1] >= 0 && r[0] < r[1]
}

func scalarOf(t *ir.Tensor) (float64, bool) {
	if t == nil || t.DType() != ir.Float32 || t.Len() != 1 {
		return 0, false
	}
	v, err := ir.Elements[float32](t)
	if err != nil || v[0] != v[0] {
		return 0, false
	}
	return float64(v[0]), true
}
