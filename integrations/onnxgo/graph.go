package onnxgo

import (
	"context"
	"fmt"
	"math"

	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// Graph implements onnx-go's Backend and its backend.ComputationBackend.
type Graph struct {
	*simple.WeightedDirectedGraph
	o      options
	values map[string]*value
	order  []*value // in order of their first nodes
	calls  []*call
	// pending holds the operands of the operator that is applied next, by the node of each of its results.
	pending map[int64][]*value
	source  *ir.Model // of Model; nil where onnx-go decoded
	ready   *compiled
}

// Option is an option of NewGraph.
type Option func(*options)

type options struct {
	opset    int64
	pipeline string
	threads  int
	verify   bool
	ctx      context.Context
}

// WithOpset states the version of the default operator set. Without it, and with onnx-go's own decoder, it is found from the arity, the
// attributes and the types of the operators. Where these leave versions in which the model would mean different things (Softmax with no
// axis means another axis from 13 on), Run fails and says so.
func WithOpset(version int) Option { return func(o *options) { o.opset = int64(version) } }

// WithPipeline states the passes that run before the model does, "O2" if it is not given; "" is none.
func WithPipeline(text string) Option { return func(o *options) { o.pipeline = text } }

// WithThreads states how many threads the engine uses, one if it is not given. Results do not depend on it.
func WithThreads(n int) Option { return func(o *options) { o.threads = n } }

// WithVerify compares the optimized model with the original on generated inputs before the first run, which takes up to ten seconds.
func WithVerify() Option { return func(o *options) { o.verify = true } }

// WithContext ends preparation and runs with ctx.
func WithContext(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// NewGraph makes an empty graph, to be filled by a Model of onnx-go or of this package.
func NewGraph(opts ...Option) *Graph {
	g := &Graph{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(math.MaxFloat64, -1), values: map[string]*value{}, pending: map[int64][]*value{}}
	g.o = options{pipeline: "O2", threads: 1, ctx: context.Background()}
	for _, o := range opts {
		o(&g.o)
	}
	return g
}

// value is what all nodes of a name stand for.
type value struct {
	name  string
	first int64 // the id of its first node
	// sets counts how often it was given a tensor while the model was decoded, last is the node's id then.
	sets int
	last int64
	fed  bool  // it was given a tensor since
	def  *call // nil for inputs and initializers
	at   int   // which result of def
	data tensor.Tensor
	// wanted says that it is computed though another operator uses it, ran that data is what the last run made.
	wanted, ran bool
}

// call is an operator on values.
type call struct {
	id       ir.OpID
	op       onnx.Operation
	operands []*value // nil where omitted
	results  []*value
}

// Node is a value of the model. It implements graph.Node and onnx-go's Namer and DataCarrier.
type Node struct {
	id    int64
	g     *Graph
	value *value
}

// ID implements graph.Node.
func (n *Node) ID() int64 { return n.id }

// GetName implements onnx.Namer.
func (n *Node) GetName() string { return n.value.name }

// SetName implements onnx.Namer. Nodes of the same name are the same value.
func (n *Node) SetName(name string) {
	if v, ok := n.g.values[name]; ok {
		n.value = v
		return
	}
	n.value.name = name
	n.g.values[name] = n.value
	n.g.order = append(n.g.order, n.value)
}

// SetTensor implements onnx.DataCarrier. The tensor is read at the next Run.
func (n *Node) SetTensor(t tensor.Tensor) error {
	v := n.value
	v.data, v.ran = t, false
	if len(n.g.calls) == 0 && n.g.source == nil {
		v.sets++
		v.last = n.id
		return nil
	}
	if !v.fed && n.g.ready != nil && n.g.source == nil {
		n.g.ready = nil // it was a constant
	}
	v.fed = true
	return nil
}

// GetTensor implements onnx.DataCarrier. After a Run, a value that the run did not need is computed when it is asked for; nil if that fails.
func (n *Node) GetTensor() tensor.Tensor {
	v := n.value
	if v.def != nil && !v.ran && n.g.ready != nil && !v.wanted {
		v.wanted, n.g.ready = true, nil
		if err := n.g.Run(); err != nil {
			return nil
		}
	}
	return v.data
}

// NewNode implements graph.NodeAdder.
func (g *Graph) NewNode() graph.Node {
	n := &Node{id: g.WeightedDirectedGraph.NewNode().ID(), g: g, value: &value{}}
	n.value.first = n.id
	return n
}

// NewWeightedEdge implements graph.WeightedEdgeAdder.
func (g *Graph) NewWeightedEdge(from, to graph.Node, w float64) graph.WeightedEdge {
	return &edge{from, to, w}
}

// edge says that operand W of from is to. Operands that are used twice are edges between the same nodes; the graph of gonum keeps one.
type edge struct {
	from, to graph.Node
	w        float64
}

func (e *edge) From() graph.Node         { return e.from }
func (e *edge) To() graph.Node           { return e.to }
func (e *edge) Weight() float64          { return e.w }
func (e *edge) ReversedEdge() graph.Edge { return &edge{e.to, e.from, e.w} }

// SetWeightedEdge implements graph.WeightedEdgeAdder.
func (g *Graph) SetWeightedEdge(e graph.WeightedEdge) {
	to, ok := e.To().(*Node)
	if i := int(e.Weight()); ok && i >= 0 {
		in := g.pending[e.From().ID()]
		for len(in) <= i {
			in = append(in, nil)
		}
		if to.value.name != "" {
			in[i] = to.value
		}
		g.pending[e.From().ID()] = in
	}
	if e.From().ID() != e.To().ID() {
		g.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// ApplyOperation implements onnx.OperationCarrier. An operator that is not known is an *onnx.ErrNotImplemented.
func (g *Graph) ApplyOperation(o onnx.Operation, ns ...graph.Node) error {
	op, ok := identify(o.Name)
	if !ok {
		return &onnx.ErrNotImplemented{Operator: o.Name, Message: "neither the ONNX standard nor ONNX Runtime has it"}
	}
	c := &call{id: op, op: o}
	for i, x := range ns {
		n, ok := x.(*Node)
		if !ok {
			return fmt.Errorf("onnxgo: %s is applied to a node of another graph", o.Name)
		}
		if i == 0 {
			c.operands = g.pending[n.id]
		}
		v := n.value
		if v.name == "" { // a result that is left out
			v = &value{}
		}
		v.def, v.at = c, i
		c.results = append(c.results, v)
	}
	clear(g.pending)
	if _, most := schema.Lookup(op, newestOf(op)).NumInputs(); most == 0 {
		c.operands = nil // onnx-go makes one up
	}
	g.calls = append(g.calls, c)
	return nil
}

// identify finds the domain of an operator, which onnx-go does not hand on.
func identify(name string) (ir.OpID, bool) {
	for _, domain := range []string{"", "ai.onnx.ml", "com.microsoft"} {
		if op := (ir.OpID{Domain: domain, Type: name}); len(schema.Versions(op)) > 0 {
			return op, true
		}
	}
	return ir.OpID{}, false
}

// newestOf is the last version of the operator set that has op.
func newestOf(op ir.OpID) int64 {
	v := schema.Versions(op)
	return v[len(v)-1].Since()
}
