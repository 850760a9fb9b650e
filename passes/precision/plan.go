package precision

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
)

// planner decides which nodes compute in the new type.
type planner struct {
	c     *passes.Context
	m     *ir.Model
	o     Options
	to    ir.DType
	depth int64

	facts    *infer.Result
	kept     map[*ir.Node]reason // nodes that keep their type; all others change
	bodies   map[*ir.Graph]bool  // bodies of functions that change
	fits     map[*ir.Tensor]error
	clip     map[*ir.Value]float32 // values that overflow in the new type, with the bound that stands for infinity
	sigs     map[*ir.Node]sig
	masked   map[*ir.Value]bool    // values with numbers that stand for infinity
	measured map[*ir.Value]*extent // ranges seen on calibration data, nil without any
}

// reason is why a node keeps its type.
type reason struct {
	why    string
	narrow bool // its weights may still be stored in the new type
}

// level is the type that a use asks for or that a value has.
type level uint8

const (
	none level = iota // no float of the old type
	any               // takes either
	old
	new
)

// isFrom reports whether v is a tensor of a type that is converted.
func (p *planner) isFrom(v *ir.Value) bool {
	return v != nil && p.isOld(p.facts.DType(v)) && p.facts.Type(v).IsTensor()
}

func (p *planner) isOld(d ir.DType) bool {
	if p.to == ir.Float32 {
		return d == ir.Float16 || d == ir.BFloat16
	}
	return d == ir.Float32
}

// plan fills kept.
func (p *planner) plan() error {
	p.masked = map[*ir.Value]bool{}
	p.clip, p.sigs = map[*ir.Value]float32{}, map[*ir.Node]sig{}
	for n := range p.m.Nodes() {
		if p.c.Err() != nil {
			return nil
		}
		if n.Is("Constant") {
			continue
		}
		r, keep, err := p.keeps(n)
		if err != nil {
			return err
		}
		if keep {
			p.kept[n] = r
		}
	}
	p.settle()
	return nil
}

// inferTypes infers the model with functions under the types of their calls. Functions that are not always called with the same
// types are not converted.
func (p *planner) inferTypes() {
	p.bodies = map[*ir.Graph]bool{}
	types := map[*ir.Value]*ir.Type{}
	p.facts = infer.Model(p.m)
	if len(p.m.Functions) == 0 {
		return
	}
	for range len(p.m.Functions) + 1 { // types travel one call deeper each time
		before := len(types)
		for n := range p.m.Nodes() {
			f := p.m.Function(n.Op())
			if f == nil {
				continue
			}
			if _, seen := p.bodies[f.Graph]; !seen {
				p.bodies[f.Graph] = true
			}
			for i, s := range f.Graph.Inputs() {
				t := p.facts.Type(n.Operand(i)).WithoutShapes()
				if n.Operand(i) == nil || t == nil {
					p.bodies[f.Graph] = false // an omitted operand has no type to agree in
					continue
				}
				if u := types[s.Value()]; u != nil && !u.Equal(t) {
					p.bodies[f.Graph] = false
					continue
				}
				types[s.Value()] = t
			}
		}
		p.facts = infer.Assuming(p.m, types)
		if len(types) == before {
			break
		}
	}
	for g, ok := range p.bodies {
		if ok && hasRefs(g) {
			p.bodies[g] = false
		}
	}
}

// hasRefs reports whether a node's attribute refers to one of the function: the type of its result may depend on the caller.
func hasRefs(g *ir.Graph) bool {
	for n := range g.Nodes() {
		if n.HasRefs() {
			return true
		}
		for _, s := range n.Subgraphs() {
			if hasRefs(s) {
				return true
			}
		}
	}
	return false
}

// convertible reports whether nodes of g may be converted at all.
func (p *planner) convertible(g *ir.Graph) bool {
	if f := g.Function(); f != nil {
		return p.bodies[f.Graph]
	}
	for g.Outer() != nil {
		g = g.Outer()
	}
	return g == p.m.Main
}

// signature is what a node that changes its type asks of its operands, and the types of its results; ok is false where the schema
// does not say.
func (p *planner) signature(n *ir.Node) (in, out []level, ok bool) {
	if s, seen := p.sigs[n]; seen {
		return s.in, s.out, s.ok
	}
	in, out, ok = p.sign(n)
	p.sigs[n] = sig{in, out, ok}
	return in, out, ok
}

type sig struct {
	in, out []level
	ok      bool
}

func (p *planner) sign(n *ir.Node) (in, out []level, ok bool) {
	in, out = make([]level, n.NumOperands()), make([]level, n.NumResults())
	if p.links(n) != nil || p.m.Function(n.Op()) != nil {
		for i, v := range n.Operands() {
			in[i] = p.slot(v)
		}
		for i, v := range n.Results() {
			out[i] = p.slot(v)
		}
		return in, out, true
	}
	s := schema.Of(n)
	if s == nil {
		return nil, nil, false
	}
	want := ir.TensorType(p.to, nil)
	bound := map[string]level{} // of type variables that operands bind
	for i, v := range n.Operands() {
		param := s.Input(i)
		if param == nil {
			return nil, nil, false
		}
		if !p.isFrom(v) {
			continue
		}
		in[i] = old
		if param.Types().Contains(want) && !(i == 1 && n.Is("Resize")) { // ONNX Runtime reads the region as float32
			in[i] = new
		}
		bound[param.Var] = in[i]
	}
	for i, v := range n.Results() {
		param := s.Output(i)
		if param == nil {
			return nil, nil, false
		}
		if !p.isFrom(v) {
			continue
		}
		l, has := bound[param.Var]
		switch {
		case n.Is("Cast", "ConstantOfShape") && param.Types().Contains(want):
			l = new
		case !has && stash(n, i):
			l = old
		case !has:
			return nil, nil, false
		}
		out[i] = l
	}
	p.free(n, s, in)
	return in, out, true
}

// slot is the level of a value at the border of a graph that changes.
func (p *planner) slot(v *ir.Value) level {
	if p.isFrom(v) {
		return new
	}
	return none
}

// stash reports whether result i of n is a statistic of float32, whatever the type of the operands.
func stash(n *ir.Node, i int) bool {
	return i > 0 && (n.Is("LayerNormalization") || n.Op().Domain == "com.microsoft")
}

// free marks operands whose type is nobody else's concern: those of Cast, Shape, ArgMax and the like.
func (p *planner) free(n *ir.Node, s *schema.Schema, in []level) {
	if n.HasRefs() || !n.Is("Cast", "CastLike", "Shape", "Size", "IsNaN", "IsInf", "NonZero", "ArgMax", "ArgMin") {
		return
	}
	if len(in) > 0 && in[0] != none {
		in[0] = any
	}
}

// demand is what n, as it is planned, asks of operand i.
func (p *planner) demand(n *ir.Node, i int) level {
	v := n.Operand(i)
	if !p.isFrom(v) {
		return none
	}
	if n.IsReturn() {
		return p.slotLevel(n.Graph())
	}
	if _, kept := p.kept[n]; kept {
		return p.oldDemand(n, i)
	}
	in, _, _ := p.signature(n)
	return in[i]
}

// oldDemand is what n asks of operand i if it keeps its type.
func (p *planner) oldDemand(n *ir.Node, i int) level {
	if i == 0 && n.Is("Cast", "CastLike", "Shape", "Size", "IsNaN", "IsInf", "NonZero", "ArgMax", "ArgMin") {
		return any
	}
	return old
}

// slotLevel is the type of the slots of g.
func (p *planner) slotLevel(g *ir.Graph) level {
	switch {
	case !p.convertible(g):
		return old
	case g.Owner() != nil:
		if _, kept := p.kept[g.Owner()]; kept {
			return old
		}
		return new
	case g == p.m.Main && (p.o.KeepIO || p.o.WeightsOnly):
		return old
	}
	return new
}

// home is the type that v, no constant, has in the result.
func (p *planner) home(v *ir.Value) level {
	n, i := v.Def()
	switch {
	case !p.isFrom(v):
		return none
	case n == nil && v.Default() != nil: // a weight that may be overridden is a weight, and changes its type like one
		if p.convertible(v.Graph()) && p.fit(v.Default()) == nil && !p.o.WeightsOnly {
			return new
		}
		return old
	case n == nil:
		return p.slotLevel(v.Graph())
	}
	if _, kept := p.kept[n]; kept {
		return old
	}
	_, out, _ := p.signature(n)
	return out[i]
}

// links groups the values that have to be of one type where n runs subgraphs: operands, inputs and outputs of the bodies, results.
// It is nil for other nodes, and never nil for these.
func (p *planner) links(n *ir.Node) [][]*ir.Value {
	r := [][]*ir.Value{{}}
	switch {
	case n.Is("If"):
		for i, v := range n.Results() {
			g := []*ir.Value{v}
			for _, s := range n.Subgraphs() {
				if i < len(s.Outputs()) {
					g = append(g, s.Outputs()[i].Value())
				}
			}
			r = append(r, g)
		}
	case n.Is("Loop"):
		b := n.Attr("body").Graph()
		for i := 2; b != nil && i < len(b.Inputs()); i++ {
			r = append(r, values(n.Operand(i), b.Inputs()[i].Value(), output(b, i-1), n.Result(i-2)))
		}
		for i := max(n.NumOperands(), 2) - 2; b != nil && i < n.NumResults(); i++ {
			r = append(r, values(n.Result(i), output(b, i+1)))
		}
	case n.Is("Scan"):
		b, off := n.Attr("body").Graph(), 0
		if n.Graph().Opset("") == 8 {
			off = 1 // lengths of the sequences
		}
		states := 0
		if b != nil {
			states = len(b.Inputs()) - int(n.Int("num_scan_inputs", 0))
		}
		for i := 0; b != nil && i < len(b.Inputs()); i++ {
			g := values(n.Operand(i+off), b.Inputs()[i].Value())
			if i < states {
				g = append(g, values(output(b, i), n.Result(i))...)
			}
			r = append(r, g)
		}
		for i := max(states, 0); b != nil && i < n.NumResults(); i++ {
			r = append(r, values(n.Result(i), output(b, i)))
		}
	default:
		return nil
	}
	return r
}

func values(v ...*ir.Value) (r []*ir.Value) {
	for _, v := range v {
		if v != nil {
			r = append(r, v)
		}
	}
	return r
}

func output(g *ir.Graph, i int) *ir.Value {
	if i < len(g.Outputs()) {
		return g.Outputs()[i].Value()
	}
	return nil
}
