// Package grad differentiates models: reverse mode as a transformation from ONNX to ONNX in standard operators, so that a training step is
// itself a model that any engine runs, passes optimize and a person can read.
//
// Reverse mode accumulates, from the loss back to the parameters, the derivative of the loss by each value on the way (Griewank and
// Walther, Evaluating Derivatives, 2nd ed., chapter 3). Each operator has a rule that builds the derivatives by its operands out of
// those by its results. Subgraphs and calls of functions have none.
//
// Where a function has no derivative the rule takes one of the one-sided ones, or splits it evenly among equal operands, and says so.
// QuantizeLinear passes the derivative straight through where it does not saturate (Bengio et al., arXiv 1308.3432), and scales have the
// derivative of learned step sizes (Esser et al., arXiv 1902.08153).
package grad

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// MinOpset is the oldest operator set of the default domain that a model to be differentiated may import: from it on axes are operands of
// all reductions, and elements can be scattered with a sum.
const MinOpset = 18

// Options say what is differentiated by what.
type Options struct {
	// Loss is the output to differentiate. If it has several elements, their sum is.
	Loss string
	// Params are the names of initializers or inputs of the main graph, of a floating-point type.
	Params []string
	// Inputs makes inputs of the initializers in Params, of the same names and without defaults, so that a step takes their values.
	Inputs bool
	// Suffix of the names of the outputs that are added; default ".grad".
	Suffix string
}

// Error lists the nodes that cannot be differentiated.
type Error struct{ Nodes []string }

func (e *Error) Error() string {
	return "no derivative is known of " + strings.Join(e.Nodes, "; ")
}

// Append adds to m the computation of the derivative of the loss by each parameter, and an output for each: named as the parameter with
// the suffix, of its type, in the order of Params. The derivative by a parameter that the loss does not depend on is zero. m must
// be valid. After an error m is not to be used.
func Append(m *ir.Model, o Options) error {
	if o.Suffix == "" {
		o.Suffix = ".grad"
	}
	if v := m.Opset(""); v < MinOpset {
		return fmt.Errorf("differentiation needs opset %d or newer, the model has %d", MinOpset, v)
	}
	loss, params, err := find(m, o)
	if err != nil {
		return err
	}
	if o.Inputs {
		for i, p := range params {
			if p.IsInitializer() {
				params[i] = toInput(m.Main, p)
			}
		}
	}
	path := between(m.Main, params, loss.Value())
	r := infer.Model(m)
	b := &builder{g: m.Main, infer: r, sums: map[*ir.Value][]*ir.Value{}, path: path}
	var missing []string
	for _, n := range m.Main.NodeList() {
		if path.node[n] {
			if why := unknown(m, n); why != "" {
				missing = append(missing, why)
			}
		}
	}
	if missing != nil {
		return &Error{missing}
	}
	seed := loss.Value()
	if !r.Type(seed).DType().IsFloat() {
		return fmt.Errorf("the loss %q is of type %s, not of a floating-point type", o.Loss, r.Type(seed))
	}
	b.add(seed, b.fill(b.shape(seed), b.one(r.Type(seed).DType(), 1)))
	for _, n := range slices.Backward(m.Main.NodeList()) {
		if path.node[n] {
			if err := b.node(n); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
	}
	for i, p := range params {
		d := b.total(p)
		if d == nil {
			d = b.fill(b.shape(p), b.one(r.Type(p).DType(), 0))
		}
		m.Main.AddOutput(o.Params[i]+o.Suffix, d, ir.TensorType(r.Type(p).DType(), r.Type(p).TensorShape()))
	}
	return nil
}

// find looks up the loss and the parameters.
func find(m *ir.Model, o Options) (*ir.Slot, []*ir.Value, error) {
	var loss *ir.Slot
	taken := map[string]bool{}
	for _, s := range m.Main.Outputs() {
		taken[s.Name()] = true
		if s.Name() == o.Loss {
			loss = s
		}
	}
	if loss == nil {
		return nil, nil, fmt.Errorf("the model has no output %q", o.Loss)
	}
	named := map[string]*ir.Value{}
	for _, v := range m.Main.Consts() {
		named[v.Name()] = v
	}
	for _, s := range m.Main.Inputs() {
		named[s.Name()], taken[s.Name()] = s.Value(), true
	}
	var params []*ir.Value
	for _, name := range o.Params {
		v := named[name]
		switch {
		case v == nil:
			return nil, nil, fmt.Errorf("the model has no initializer or input %q", name)
		case !typeOf(v).DType().IsFloat():
			return nil, nil, fmt.Errorf("%q is no parameter: its type is %s", name, typeOf(v))
		case taken[name+o.Suffix]:
			return nil, nil, fmt.Errorf("the name %q is taken or given twice", name+o.Suffix)
		}
		taken[name+o.Suffix] = true
		params = append(params, v)
	}
	return loss, params, nil
}

func typeOf(v *ir.Value) *ir.Type {
	if t := v.Const(); t != nil {
		return t.Type()
	}
	return v.Type()
}

func toInput(g *ir.Graph, p *ir.Value) *ir.Value {
	name, t := p.Name(), p.Const().Type()
	p.SetName("")
	in := g.AddInput(name, t)
	p.ReplaceUses(in)
	g.EraseConst(p)
	return in
}

// reach is what lies between the parameters and the loss.
type reach struct {
	node  map[*ir.Node]bool
	value map[*ir.Value]bool
}

// between finds the nodes that depend on a parameter and on which the loss depends. Values of other than floating-point types end a
// dependency, but for quantized numbers, through which the derivative is passed.
func between(g *ir.Graph, params []*ir.Value, loss *ir.Value) *reach {
	r := &reach{map[*ir.Node]bool{}, map[*ir.Value]bool{}}
	for _, p := range params {
		r.value[p] = true
	}
	nodes := g.NodeList()
	for _, n := range nodes {
		if slices.ContainsFunc(needs(n), func(v *ir.Value) bool { return r.value[v] }) {
			r.node[n] = true
			for _, v := range n.Results() {
				r.value[v] = true
			}
		}
	}
	wanted := map[*ir.Value]bool{loss: true}
	for _, n := range slices.Backward(nodes) {
		if r.node[n] && !slices.ContainsFunc(n.Results(), func(v *ir.Value) bool { return wanted[v] && v != nil }) {
			delete(r.node, n)
			continue
		}
		if r.node[n] {
			for _, v := range needs(n) {
				wanted[v] = true
			}
		}
	}
	for v := range r.value {
		r.value[v] = wanted[v]
	}
	return r
}

// needs are the values by which n may have a derivative that is not zero, those of its subgraphs included.
func needs(n *ir.Node) []*ir.Value {
	if n.Is("Shape", "Size", "ArgMax", "ArgMin", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "IsNaN", "IsInf", "NonZero", "ConstantOfShape") {
		return nil
	}
	var r []*ir.Value
	for _, v := range n.Operands() {
		if v != nil {
			r = append(r, v)
		}
	}
	for _, g := range n.Subgraphs() {
		r = append(r, g.Captures()...)
	}
	return r
}

// unknown says why n has no rule, "" if it has one.
func unknown(m *ir.Model, n *ir.Node) string {
	if _, ok := rules[n.Op().Type]; ok && n.Op().Domain == "" && m.Function(n.Op()) == nil {
		return ""
	}
	if n.Is("Cast", "Round", "Floor", "Ceil", "Sign") {
		return ""
	}
	return n.String()
}

// node adds what n passes on.
func (b *builder) node(n *ir.Node) error {
	b.n = n
	b.dy = make([]*ir.Value, n.NumResults())
	any := false
	for i, v := range n.Results() {
		if v != nil {
			b.dy[i] = b.total(v)
			any = any || b.dy[i] != nil
		}
	}
	if !any {
		return nil
	}
	rule := rules[n.Op().Type]
	if rule == nil {
		return nil // flat almost everywhere
	}
	return rule(b)
}

// Ops lists the operators that have a rule.
func Ops() []string {
	var r []string
	for k := range rules {
		r = append(r, k)
	}
	slices.Sort(r)
	return r
}
