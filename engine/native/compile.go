package native

import (
	"context"
	"fmt"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// program is a graph made ready for evaluation: steps in topological order over numbered slots.
type program struct {
	graph    *ir.Graph
	slots    int
	inputs   []int // slot of each graph input
	captures []capture
	steps    []step
	outputs  []operand
	taps     []operand // main graph only
	chains   int
}

// capture copies a value of the enclosing frame into a slot when a frame is entered.
type capture struct {
	from operand
	to   int
}

// operand is where a step finds a value: a constant, a slot, or (tensor nil, slot below zero) nowhere, because it is omitted.
type operand struct {
	tensor *ir.Tensor
	slot   int
}

var omitted = operand{slot: -1}

// step is the evaluation of one node, by a kernel or by the body of a model-local function.
type step struct {
	node   *ir.Node
	opset  int64
	kernel kernel.Func
	// At most one of the executors is there; without, there is only the kernel.
	fast    executor
	several severalExecutor
	wide    []*ir.Tensor // by operand: what the executor uses for a float16 constant
	fn      *ir.Function
	call    *program // body of fn
	in      []operand
	out     []int // slot of each result, -1 where it is omitted or nobody wants it
	free    []int // slots that nothing needs after this step
	bodies  map[*ir.Graph]*program

	chain    *chain // that the node is part of, or nil
	deferred bool   // it runs only if a chain behind it does not apply
}

// wants reports whether somebody reads result i.
func (s *step) wants(i int) bool { return i < len(s.out) && s.out[i] >= 0 }

// compiler translates the graphs of one model.
type compiler struct {
	ctx       context.Context
	kernels   lookup
	fast      *accelerators // nil: kernels only
	room      int64         // bytes that may still be computed ahead
	function  func(ir.OpID) *ir.Function
	programs  map[*ir.Function]*program // nil while the function is being translated
	arranged  *arranged
	missing   []ir.OpID
	isMissing map[ir.OpID]bool
}

func newCompiler(ctx context.Context, k lookup, function func(ir.OpID) *ir.Function) *compiler {
	return &compiler{ctx: ctx, kernels: k, function: function, arranged: &arranged{},
		programs: map[*ir.Function]*program{}, isMissing: map[ir.OpID]bool{}}
}

// scope is a graph under translation.
type scope struct {
	c     *compiler
	outer *scope
	prog  *program
	slot  map[*ir.Value]int
	last  []int // by slot: the last step that needs it
	now   int   // the step under translation
	tap   map[*ir.Value]bool
	// stream: taps die where they would without being tapped
	stream bool
	known  map[*ir.Value]*ir.Tensor // results computed ahead

	chains *chains
}

func (c *compiler) newScope(g *ir.Graph, outer *scope) *scope {
	return &scope{c: c, outer: outer, prog: &program{graph: g}, slot: map[*ir.Value]int{}, known: map[*ir.Value]*ir.Tensor{}}
}

// main translates the main graph. Missing kernels are reported together.
func (c *compiler) main(g *ir.Graph, taps []*ir.Value, stream bool) (*program, error) {
	s := c.newScope(g, nil)
	s.stream = stream
	s.tap = make(map[*ir.Value]bool, len(taps))
	for _, v := range taps {
		if v == nil || v.Graph() != g || v.Dead() {
			return nil, fmt.Errorf("a tap is not a value of the main graph")
		}
		s.tap[v] = true
	}
	p, err := s.translate()
	if err != nil {
		return nil, err
	}
	if len(c.missing) > 0 {
		return nil, &engine.UnsupportedError{Ops: c.missing}
	}
	p.taps = make([]operand, len(taps))
	for i, v := range taps {
		if p.taps[i], err = s.resolve(v); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// translate makes the program of the scope's graph.
func (s *scope) translate() (*program, error) {
	p := s.prog
	for _, in := range p.graph.Inputs() {
		p.inputs = append(p.inputs, s.define(in.Value()))
	}
	s.findChains()
	p.chains = s.chains.count
	for n := range p.graph.Nodes() {
		if err := s.c.ctx.Err(); err != nil {
			return nil, err
		}
		if s.isConstant(n) {
			continue
		}
		s.now = len(p.steps)
		st, err := s.step(n)
		if err != nil {
			return nil, &engine.NodeError{Name: n.Name(), Op: n.Op(), Err: err}
		}
		if s.ahead(&st) {
			continue
		}
		s.results(&st)
		p.steps = append(p.steps, st)
	}
	s.now = len(p.steps)
	for i, o := range p.graph.Outputs() {
		op, err := s.resolve(o.Value())
		if err != nil {
			return nil, fmt.Errorf("output %d (%q): %w", i, o.Name(), err)
		}
		p.outputs = append(p.outputs, op)
	}
	for v := range s.tap {
		if i, ok := s.slot[v]; ok && !s.stream {
			s.last[i] = s.now
		}
	}
	for i, at := range s.last {
		if at < len(p.steps) {
			p.steps[at].free = append(p.steps[at].free, i)
		}
	}
	p.slots = len(s.last)
	return p, nil
}

// isConstant reports whether n is a Constant whose value is known now; it needs no step.
func (s *scope) isConstant(n *ir.Node) bool {
	return n.NumResults() > 0 && n.Result(0).Const() != nil && s.c.function(n.Op()) == nil
}

// define gives v a slot of the scope.
func (s *scope) define(v *ir.Value) int {
	i := len(s.last)
	s.slot[v] = i
	s.last = append(s.last, s.now)
	return i
}

// resolve finds v and notes that the current step needs it. A value of an enclosing graph is captured: the scopes around
// note that their current step, the owner of this graph, needs it.
func (s *scope) resolve(v *ir.Value) (operand, error) {
	if v == nil {
		return omitted, nil
	}
	if n := v.Node(); n == nil || s.c.function(n.Op()) == nil {
		if t := v.Const(); t != nil {
			return operand{tensor: t, slot: -1}, nil
		}
	}
	if t := s.known[v]; t != nil {
		return operand{tensor: t, slot: -1}, nil
	}
	if i, ok := s.slot[v]; ok {
		s.last[i] = s.now
		return operand{slot: i}, nil
	}
	if v.Graph() == s.prog.graph || s.outer == nil {
		return omitted, fmt.Errorf("value %q is not computed where it is used", v.Name())
	}
	from, err := s.outer.resolve(v)
	if err != nil {
		return omitted, err
	}
	to := s.define(v)
	s.prog.captures = append(s.prog.captures, capture{from, to})
	return operand{slot: to}, nil
}

// anonymous gives a slot to nobody's value.
func (s *scope) anonymous() int {
	s.last = append(s.last, s.now)
	return len(s.last) - 1
}

func (s *scope) step(n *ir.Node) (step, error) {
	op := n.Op()
	st := step{node: n, opset: n.Graph().Opset(op.Domain), fn: s.c.function(op)}
	err := s.evaluator(&st)
	if err != nil {
		return st, err
	}
	st.in = make([]operand, n.NumOperands())
	for i := range st.in {
		if st.in[i], err = s.resolve(n.Operand(i)); err != nil {
			return st, err
		}
	}
	if err := s.subgraphs(&st); err != nil {
		return st, err
	}
	if err := s.enter(&st); err != nil {
		return st, err
	}
	s.accelerate(&st)
	return st, nil
}

// results gives slots to the results of st that somebody wants.
func (s *scope) results(st *step) {
	st.out = make([]int, st.node.NumResults())
	for i, v := range st.node.Results() {
		st.out[i] = -1
		if v.NumUses() > 0 || s.tap[v] {
			st.out[i] = s.define(v)
		}
	}
	if c := st.chain; c != nil && st.node == c.nodes[len(c.nodes)-1] {
		c.out = st.out[0]
	}
}

// evaluator finds what evaluates the node of st: a function's body or a kernel. A missing kernel is noted.
func (s *scope) evaluator(st *step) (err error) {
	op := st.node.Op()
	if st.fn != nil {
		st.call, err = s.c.body(st.fn, st.node)
		return err
	}
	if st.kernel = s.c.kernels(op, st.opset); st.kernel == nil && !s.c.isMissing[op] {
		s.c.isMissing[op] = true
		s.c.missing = append(s.c.missing, op)
	}
	return nil
}

// subgraphs translates the graphs that the node's attributes hold.
func (s *scope) subgraphs(st *step) (err error) {
	for _, g := range st.node.Subgraphs() {
		if st.bodies == nil {
			st.bodies = map[*ir.Graph]*program{}
		}
		if st.bodies[g], err = s.c.newScope(g, s).translate(); err != nil {
			return err
		}
	}
	return nil
}

// body translates a function once and checks that the call n fits it. Functions may not call themselves.
func (c *compiler) body(f *ir.Function, n *ir.Node) (*program, error) {
	if a, b := n.NumOperands(), len(f.Graph.Inputs()); a > b {
		return nil, fmt.Errorf("%d operands for a function of %d inputs", a, b)
	}
	if a, b := n.NumResults(), len(f.Graph.Outputs()); a > b {
		return nil, fmt.Errorf("%d results of a function of %d outputs", a, b)
	}
	p, seen := c.programs[f]
	if p != nil {
		return p, nil
	}
	if seen {
		return nil, fmt.Errorf("function %s calls itself", f.ID())
	}
	c.programs[f] = nil
	p, err := c.newScope(f.Graph, nil).translate()
	if err != nil {
		return nil, err
	}
	c.programs[f] = p
	return p, nil
}
