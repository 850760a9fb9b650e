package audit

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// model looks at a model that could be read.
func (r *Report) model(m *ir.Model) {
	r.operators(m)
	types := infer.Model(m)
	r.valid(m, types)
	r.functions(m)
	r.sizes(m, types)
	r.loops(m)
	r.constants(m)
	if len(m.Training) > 0 {
		r.add(TrainingInfo, Note, "model", "%d training graphs, which no inference runs", len(m.Training))
	}
}

// valid reports where the model breaks the standard.
func (r *Report) valid(m *ir.Model, types *infer.Result) {
	if err := ir.Verify(m); err != nil {
		r.add(Invalid, Danger, "model", "%v", err)
		return
	}
	for _, p := range ops.Problems(m, types, r.o.Limit) {
		r.add(Invalid, Danger, p.Place, "%s", p.Detail)
	}
	for _, x := range types.Remarks() {
		if x.Severity == infer.Error {
			r.add(Invalid, Danger, "model", "%s", x)
		}
	}
}

// operators lists operators that the standard does not have, each once.
func (r *Report) operators(m *ir.Model) {
	counts, first := map[ir.OpID]int{}, map[ir.OpID]*ir.Node{}
	for n := range m.Nodes() {
		op := n.Op()
		if m.Function(op) != nil || schema.Lookup(op, n.Graph().Opset(op.Domain)) != nil && op.Domain != "com.microsoft" {
			continue
		}
		if counts[op]++; first[op] == nil {
			first[op] = n
		}
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b ir.OpID) int { return strings.Compare(a.String(), b.String()) })
	for _, op := range names {
		if slices.Contains(r.o.Allow, op.Domain) && op.Domain != "" {
			continue
		}
		severity, what := Danger, "no operator of the standard: what it does is up to a library that the program loads"
		switch {
		case schema.Lookup(op, math.MaxInt32) != nil:
			severity, what = Note, "an operator of ONNX Runtime's"
			if op.Domain == "" || !strings.HasPrefix(op.Domain, "com.microsoft") {
				severity, what = Danger, "an operator that the imported version of the standard does not have"
			}
		case op.Domain == "ai.onnx.contrib" && strings.HasPrefix(op.Type, "Py"):
			what = "a custom operator that runs Python code"
		}
		r.add(Custom, severity, place(first[op]), "%s, %d node%s: %s", op, counts[op], plural(counts[op]), what)
	}
}

// expansion is how many nodes a model may grow to when its functions are inlined.
const expansion = 10_000_000

// functions looks for calls that multiply: f calls g twice, g calls h twice, and so on.
func (r *Report) functions(m *ir.Model) {
	if len(m.Functions) == 0 || m.CallCycle() != nil { // a cycle is refused by the reader
		return
	}
	sizes := map[*ir.Function]int64{}
	var size func(g *ir.Graph) int64
	size = func(g *ir.Graph) int64 {
		total := int64(0)
		for n := range g.Nodes() {
			total = analysis.Add(total, 1)
			if f := m.Function(n.Op()); f != nil {
				if _, ok := sizes[f]; !ok {
					sizes[f] = size(f.Graph)
				}
				total = analysis.Add(total, sizes[f])
			}
			for _, s := range n.Subgraphs() {
				total = analysis.Add(total, size(s))
			}
		}
		return total
	}
	if n := size(m.Main); n > expansion {
		r.add(Bomb, Danger, "model", "its functions call each other so that %s nodes run", about(n))
	}
}

// sizes looks for values out of proportion to the file.
func (r *Report) sizes(m *ir.Model, types *infer.Result) {
	bound := max(r.o.MaxMemory, analysis.Mul(100, r.weigh(m)))
	for n := range m.Nodes() {
		for _, v := range n.Results() {
			if v == nil {
				continue
			}
			if b, known := bytesOf(types.Type(v)); known && b > bound {
				r.add(Bomb, Danger, place(n), "result %q of %s takes %s bytes", v.Name(), n.Op(), about(b))
			}
		}
	}
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			if b, known := bytesOf(v.Const().Type()); known && b > bound {
				r.add(Bomb, Danger, tensorPlace(v), "the constant takes %s bytes in dense form", about(b))
			}
		}
	}
}

// weigh is the number of bytes that the file and its weights have on disk.
func (r *Report) weigh(m *ir.Model) int64 {
	return max(r.Bytes, min(cost.Model(m, analysis.Options{}).Constants.Bytes, 1<<40*int64(min(len(r.DataFiles), 1))))
}

// bytesOf is the size of a tensor type whose dimensions are all known; it saturates.
func bytesOf(t *ir.Type) (int64, bool) {
	shape := t.TensorShape()
	if !t.IsTensor() || shape == nil || t.DType().Bits() == 0 {
		return 0, false
	}
	dims, ok := shape.Ints()
	if !ok {
		return 0, false
	}
	n := int64(1)
	for _, d := range dims {
		if d == 0 {
			return 0, true
		}
		n = analysis.Mul(n, d)
	}
	return analysis.Mul(n, int64(t.DType().Bits()+7)/8), true
}

// rounds is the constant trip count from which on a loop is called a bomb.
const rounds = 100_000_000

// loops looks for loops that go round for very long, or without end.
func (r *Report) loops(m *ir.Model) {
	for n := range m.Nodes() {
		if n.Op() != ir.Op("Loop") || len(n.Subgraphs()) != 1 {
			continue
		}
		body := n.Subgraphs()[0]
		trips, counted := constInt(n.Operand(0))
		switch {
		case counted && trips >= rounds && !stops(body):
			r.add(Bomb, Danger, place(n), "the loop goes round %s times", about(trips))
		case n.Operand(0) == nil && always(n.Operand(1)) && !stops(body):
			r.add(Bomb, Danger, place(n), "the loop has no end: no trip count, and a condition that stays true")
		}
	}
}

// stops reports whether a loop's body may end the loop: its first output is computed, and not the constant true or its own condition.
func stops(body *ir.Graph) bool {
	if len(body.Outputs()) == 0 {
		return true
	}
	v := body.Outputs()[0].Value()
	for v.Node() != nil && v.Node().Is("Identity") {
		v = v.Node().Operand(0)
	}
	if len(body.Inputs()) > 1 && v == body.Inputs()[1].Value() {
		return false
	}
	return !always(v)
}

// always reports whether v is omitted or the constant true.
func always(v *ir.Value) bool {
	if v == nil {
		return true
	}
	t := v.Const()
	if t == nil || t.DType() != ir.Bool || t.Len() != 1 {
		return false
	}
	b, err := t.Bytes()
	return err == nil && b[0] != 0
}

func constInt(v *ir.Value) (int64, bool) {
	t := v.Const()
	if t == nil || t.DType() != ir.Int64 || t.Len() != 1 {
		return 0, false
	}
	s, err := ir.Elements[int64](t)
	if err != nil {
		return 0, false
	}
	return s[0], true
}

// about is a number for people.
func about(n int64) string {
	if n == math.MaxInt64 {
		return "more than 2^63"
	}
	return fmt.Sprintf("%.3g", float64(n))
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// place names a node: its graph and its name, or that of its first result.
func place(n *ir.Node) string {
	name := n.Name()
	if name == "" {
		for _, v := range n.Results() {
			if v != nil && v.Name() != "" {
				name = v.Name()
				break
			}
		}
	}
	return fmt.Sprintf("%s, node %q (%s)", n.Graph().Path(), name, n.Op())
}

func tensorPlace(v *ir.Value) string {
	return fmt.Sprintf("%s, tensor %q", v.Graph().Path(), v.Name())
}
