package fuzz

import (
	"context"
	"slices"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// begin makes the model of the case a motif with a few edits, if it then still runs, and samples its values.
func (g *generator) begin(motif Motif) bool {
	if len(motif.Model.Training) > 0 || motif.Model.Opset("") < 7 { // before 7 kernels broadcast more than the standard allows
		return false
	}
	for range 3 {
		m := motif.Model.Clone()
		if edits := g.IntN(4); edits > 0 {
			for range edits {
				g.mutate(m)
			}
			forget(m)
		}
		if ir.Verify(m) == nil && ops.Verify(m) == nil && g.sample(m) {
			return true
		}
	}
	return false
}

// forget drops what is recorded of shapes that an edit may have changed.
func forget(m *ir.Model) {
	for _, g := range m.Graphs() {
		for _, s := range g.Outputs() {
			s.SetType(s.Type().WithoutShapes())
		}
		if g != m.Main {
			for _, s := range g.Inputs() {
				s.SetType(s.Type().WithoutShapes())
			}
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
	}
}

// sample runs m on generated inputs of two sizes and makes it the model of the case.
func (g *generator) sample(m *ir.Model) bool {
	s, taps, ok := g.tapped(m)
	if !ok {
		return false
	}
	defer s.Close()
	limited, cancel := context.WithTimeout(g.ctx, runTime)
	defer cancel()
	src := compare.NewGenerator(m, compare.GenerateOptions{Seed: g.Uint64(), Memory: 1 << 20, Attempts: 12})
	var sets []map[string]ir.Datum
	var seen [][]ir.Datum
	for set, err := range src.Sets(limited) {
		if err != nil {
			return false
		}
		_, found, err := s.RunTaps(limited, set.Inputs)
		if err != nil {
			src.Refused(err)
			continue
		}
		sets, seen = append(sets, set.Inputs), append(seen, found)
		if len(sets) == bindings {
			break
		}
	}
	switch len(sets) {
	case 0:
		return false
	case 1:
		sets, seen = append(sets, sets[0]), append(seen, seen[0])
	}
	return g.begun(m, taps, sets, seen)
}

// sampleOn is sample for given inputs.
func (g *generator) sampleOn(m *ir.Model, sets []map[string]ir.Datum) bool {
	s, taps, ok := g.tapped(m)
	if !ok {
		return false
	}
	defer s.Close()
	var seen [][]ir.Datum
	for _, in := range sets {
		_, found, err := s.RunTaps(g.ctx, in)
		if err != nil {
			return false
		}
		seen = append(seen, found)
	}
	return g.begun(m, taps, sets, seen)
}

// tapped loads m so that runs tell all values of the main graph.
func (g *generator) tapped(m *ir.Model) (engine.Session, []*ir.Value, bool) {
	var taps []*ir.Value
	for n := range m.Nodes() {
		if kernel.Random(n.Op()) {
			return nil, nil, false
		}
	}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				taps = append(taps, v)
			}
		}
	}
	s, err := native.New().Load(g.ctx, m, engine.Options{MaxMemory: 16 << 20, Taps: taps})
	return s, taps, err == nil
}

// begun makes m the model of the case: seen is what the runs on sets gave for taps.
func (g *generator) begun(m *ir.Model, taps []*ir.Value, sets []map[string]ir.Datum, seen [][]ir.Datum) bool {
	g.m, g.scope, g.sizes = m, &scope{g: m.Main}, map[string][bindings]int64{}
	for _, slot := range m.Main.Inputs() {
		v := slot.Value()
		if v.Default() != nil {
			g.add(v, [bindings]ir.Datum{v.Default(), v.Default()})
			continue
		}
		x := g.add(v, [bindings]ir.Datum{sets[0][slot.Name()], sets[1][slot.Name()]})
		g.bind(v.Type(), x)
	}
	for _, sym := range []string{"N", "M"} {
		if _, ok := g.sizes[sym]; !ok {
			g.sizes[sym] = [bindings]int64{2, 3}
		}
	}
	for _, v := range m.Main.Consts() {
		if small(v.Const()) {
			g.add(v, [bindings]ir.Datum{v.Const(), v.Const()})
		}
	}
	for i, v := range taps {
		x := [bindings]ir.Datum{seen[0][i], seen[1][i]}
		if idleLoop(v.Node(), x[0]) || idleLoop(v.Node(), x[1]) {
			return false
		}
		if small(x[0]) && small(x[1]) {
			g.add(v, x)
		}
	}
	return true
}

// idleLoop reports what no iteration of a Loop made: of it the standard states no shape.
func idleLoop(n *ir.Node, d ir.Datum) bool {
	t, ok := d.(*ir.Tensor)
	return ok && t != nil && n.Op() == ir.Op("Loop") && t.Rank() > 0 && t.Shape()[0] == 0
}

// bind notes the sizes of the symbols of t.
func (g *generator) bind(t *ir.Type, x *value) {
	for i, d := range t.TensorShape() {
		if d.Param == "" {
			continue
		}
		var size [bindings]int64
		for b, s := range x.s {
			if s, ok := s.(*ir.Tensor); ok && i < s.Rank() {
				size[b] = s.Shape()[i]
			}
		}
		g.sizes[d.Param] = size
	}
}

// siblings are operators that take each other's place without further ado.
var siblings = [][]string{
	{"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"}, {"Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Identity", "Erf", "Sqrt", "Exp", "Reciprocal"},
	{"ReduceMean", "ReduceMax", "ReduceProd", "ReduceL2"}, {"MaxPool", "AveragePool"}, {"And", "Or", "Xor"}, {"Equal", "Less", "Greater"},
	{"Reshape", "Expand", "Tile"}, {"Squeeze", "Unsqueeze"}, {"Concat", "Sum"}, {"GlobalAveragePool", "GlobalMaxPool"}, {"Conv", "ConvTranspose"},
}

// mutate makes one random edit of m, which may leave it invalid.
func (g *generator) mutate(m *ir.Model) {
	var nodes []*ir.Node
	for n := range m.Nodes() {
		if n.Op() != ir.Op("Constant") || g.odds(4) {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return
	}
	n := pick(g.random, nodes)
	switch g.IntN(12) {
	case 0, 1:
		g.mutateAttr(n)
	case 2:
		g.mutateOperand(m, n)
	case 3, 4, 5:
		g.mutateConst(m)
	case 6:
		if n.NumOperands() > 1 {
			a, b := n.Operand(0), n.Operand(1)
			n.SetOperand(0, b)
			n.SetOperand(1, a)
		}
	case 7:
		for _, list := range siblings {
			if slices.Contains(list, n.Op().Type) {
				n.SetOp(ir.Op(pick(g.random, list)))
				break
			}
		}
	case 8:
		g.mutateInput(m)
	case 9:
		g.mutateEdge(n)
	case 10:
		if v := n.Result(0); v != nil && n.Graph() == m.Main && !v.IsOutput() {
			if t := infer.Model(m).Type(v); t.IsTensor() {
				m.Main.AddOutput(g.name("also"), v, t.WithoutShapes())
			}
		}
	case 11:
		g.narrow(m)
	}
}

func (g *generator) mutateAttr(n *ir.Node) {
	attrs := n.Attrs()
	if s := ops.Of(n); s != nil && len(s.Attrs()) > 0 && (len(attrs) == 0 || g.odds(4)) {
		spec := &s.Attrs()[g.IntN(len(s.Attrs()))]
		x := &value{s: [bindings]ir.Datum{ir.TensorOf(make([]float32, 16), 1, 2, 4, 2)}}
		if a := g.attribute(s, spec, x); a != nil {
			n.SetAttr(a)
		}
		return
	}
	if len(attrs) == 0 {
		return
	}
	a := pick(g.random, attrs)
	if g.odds(6) {
		n.RemoveAttr(a.Name)
		return
	}
	if a.Ref != "" {
		return
	}
	switch a.Kind {
	case ir.AttrInt:
		n.SetAttr(ir.IntAttr(a.Name, pick(g.random, []int64{a.Int() + 1, a.Int() - 1, 0, -a.Int(), 1})))
	case ir.AttrFloat:
		n.SetAttr(ir.FloatAttr(a.Name, pick(g.random, []float32{a.Float() * 1.01, 0, -a.Float(), 1, 1e-30})))
	case ir.AttrInts:
		k := slices.Clone(a.Ints())
		if len(k) == 0 {
			return
		}
		i, j := g.IntN(len(k)), g.IntN(len(k))
		switch g.IntN(4) {
		case 0:
			k[i]++
		case 1:
			k[i]--
		case 2:
			k[i], k[j] = k[j], k[i]
		case 3:
			k = slices.Delete(k, i, i+1)
		}
		n.SetAttr(ir.IntsAttr(a.Name, k))
	case ir.AttrTensor:
		n.SetAttr(ir.TensorAttr(a.Name, g.altered(a.Tensor())))
	case ir.AttrString:
		if w := words[a.Name]; w != nil {
			n.SetAttr(ir.StringAttr(a.Name, pick(g.random, w)))
		}
	}
}

// altered is t with one element changed, or another form of it.
func (g *generator) altered(t *ir.Tensor) *ir.Tensor {
	shape := t.Shape()
	switch g.IntN(6) {
	case 0:
		if t.Len() == 1 {
			return t.Reshape(pick(g.random, [][]int64{{}, {1}, {1, 1}, {1, 1, 1, 1}}))
		}
	case 1:
		return t.Reshape(append([]int64{1}, shape...))
	case 2:
		if len(shape) > 0 && shape[len(shape)-1] == 1 {
			return t.Reshape(shape[:len(shape)-1])
		}
	case 3:
		if small(t) {
			return g.tensor(t.DType(), shape, g.wild)
		}
	}
	if t.Len() == 0 || t.DType() == ir.String || t.DType().Bits() < 8 || !small(t) {
		return t
	}
	b, err := t.Bytes()
	if err != nil {
		return t
	}
	one := g.tensor(t.DType(), []int64{1}, g.wild)
	if g.odds(3) {
		one = encode(g.random, t.DType(), []int64{1}, []float64{1}, []int64{1})
	}
	e, _ := one.Bytes()
	b = slices.Clone(b)
	copy(b[len(e)*g.IntN(int(t.Len())):], e)
	return ir.NewTensor(t.DType(), shape, b)
}

func (g *generator) mutateConst(m *ir.Model) {
	graphs := m.Graphs()
	at := pick(g.random, graphs)
	consts := at.Consts()
	if len(consts) == 0 {
		return
	}
	v := pick(g.random, consts)
	if at == m.Main && g.odds(5) && v.Const().DType() != ir.String && small(v.Const()) { // no longer a constant, or one that can be overridden
		w := m.Main.AddInput(g.name("was"), v.Const().Type())
		if g.odds(2) {
			w.SetDefault(v.Const())
		}
		v.ReplaceUses(w)
		at.EraseConst(v)
		return
	}
	w := at.NamedConst(v.Name(), g.altered(v.Const()))
	if g.odds(4) { // one of several uses
		uses := slices.Collect(v.Uses())
		if len(uses) > 1 {
			u := pick(g.random, uses)
			u.Node.SetOperand(u.Index, w)
			return
		}
	}
	v.ReplaceUses(w)
	at.EraseConst(v)
}

// mutateOperand makes an operand another value of the same type, or leaves it out.
func (g *generator) mutateOperand(m *ir.Model, n *ir.Node) {
	if n.NumOperands() == 0 {
		return
	}
	i := g.IntN(n.NumOperands())
	if p := paramOf(n, i); p != nil && p.Option == schema.Optional && g.odds(3) {
		n.SetOperand(i, nil)
		return
	}
	known := infer.Model(m)
	var fits []*ir.Value
	for _, s := range n.Graph().Inputs() {
		fits = append(fits, s.Value())
	}
	fits = append(fits, n.Graph().Consts()...)
	for o := range n.Graph().Nodes() {
		if o == n {
			break
		}
		fits = append(fits, o.Results()...)
	}
	want := known.DType(n.Operand(i))
	fits = slices.DeleteFunc(fits, func(v *ir.Value) bool { return v == nil || known.DType(v) != want })
	if len(fits) > 0 {
		n.SetOperand(i, pick(g.random, fits))
	}
}

func paramOf(n *ir.Node, i int) *schema.Param {
	if s := ops.Of(n); s != nil {
		return s.Input(i)
	}
	return nil
}

// mutateInput makes less known of an input's shape.
func (g *generator) mutateInput(m *ir.Model) {
	slots := m.Main.Inputs()
	if len(slots) == 0 {
		return
	}
	s := pick(g.random, slots)
	shape := slices.Clone(s.Type().TensorShape())
	if s.Value().Default() != nil || len(shape) == 0 {
		return
	}
	i := g.IntN(len(shape))
	switch g.IntN(4) {
	case 0:
		shape[i] = ir.UnknownDim()
	case 1:
		shape[i] = ir.Symbol(pick(g.random, []string{"N", "M", "B"}))
	case 2:
		shape[i] = ir.Static(g.between(1, 4))
	case 3:
		shape = nil
	}
	s.SetType(ir.TensorType(s.Type().DType(), shape))
}

// mutateEdge puts a node before an operand.
func (g *generator) mutateEdge(n *ir.Node) {
	if n.NumOperands() == 0 {
		return
	}
	i := g.IntN(n.NumOperands())
	v := n.Operand(i)
	if v == nil {
		return
	}
	typ := pick(g.random, []string{"Identity", "Neg", "Relu", "Transpose", "Abs", "Sigmoid"})
	n.SetOperand(i, n.Graph().New(n, ir.Op(typ), []*ir.Value{v}).Result(0))
}

// narrow gives every float another width.
func (g *generator) narrow(m *ir.Model) {
	to := pick(g.random, []ir.DType{ir.Float16, ir.Float64, ir.BFloat16})
	convert := func(t *ir.Tensor) *ir.Tensor {
		f, err := ir.Elements[float32](t)
		if err != nil {
			return t
		}
		v := make([]float64, len(f))
		for i, x := range f {
			v[i] = float64(x)
		}
		return encode(g.random, to, t.Shape(), v, nil)
	}
	for _, gr := range m.Graphs() {
		for _, s := range gr.Inputs() {
			if v := s.Value(); s.Type().DType() == ir.Float32 {
				s.SetType(ir.TensorType(to, s.Type().TensorShape()))
				if t := v.Default(); t != nil {
					v.SetDefault(convert(t))
				}
			}
		}
		for _, s := range gr.Outputs() {
			if s.Type().DType() == ir.Float32 {
				s.SetType(ir.TensorType(to, s.Type().TensorShape()))
			}
		}
		for _, v := range slices.Clone(gr.Consts()) {
			if t := v.Const(); t.DType() == ir.Float32 {
				v.ReplaceUses(gr.NamedConst(v.Name(), convert(t)))
				gr.EraseConst(v)
			}
		}
		for n := range gr.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
			if a := n.Attr("to"); a != nil && a.Int() == int64(ir.Float32) {
				n.SetAttr(ir.IntAttr("to", int64(to)))
			}
			if a := n.Attr("value"); a != nil && a.Tensor() != nil && a.Tensor().DType() == ir.Float32 {
				n.SetAttr(ir.TensorAttr("value", convert(a.Tensor())))
			}
		}
	}
}

// splice copies the nodes of a motif into the graph, its inputs bound to values that are there or to new ones.
func (g *generator) splice() bool {
	if len(g.motifs) == 0 {
		return false
	}
	motif := pick(g.random, g.motifs).Model
	if motif.Opset("") != g.opset() || len(motif.Functions) > 0 {
		return false
	}
	have := map[*ir.Value]*value{}
	for _, s := range motif.Main.Inputs() {
		t := s.Type()
		if !t.IsTensor() {
			return false
		}
		want := make([]int64, len(t.TensorShape()))
		for i, d := range t.TensorShape() {
			if want[i] = d.Size; !d.IsStatic() {
				want[i] = -1
			}
		}
		x := g.any(func(x *value) bool { return x.dtype() == t.DType() && like(x.shape(), want) })
		if x == nil && g.depth == 0 {
			for i := range want {
				if want[i] < 0 {
					want[i] = g.between(1, 3)
				}
			}
			if ir.NumElements(want) > maxElements {
				return false
			}
			k := g.tensor(t.DType(), want, false)
			x = g.add(g.m.Main.AddInput(g.name("x"), k.Type()), [bindings]ir.Datum{k, k})
		}
		if x == nil {
			return false
		}
		have[s.Value()] = x
	}
	done := false
	for n := range motif.Main.Nodes() {
		if len(n.Subgraphs()) > 0 || kernel.Random(n.Op()) {
			return done
		}
		in := make([]*value, n.NumOperands())
		for i, v := range n.Operands() {
			if v == nil {
				continue
			}
			x := have[v]
			if t := v.Const(); x == nil && t != nil && v.Node() == nil {
				if !small(t) {
					return done
				}
				if g.odds(12) {
					t = g.altered(t)
				}
				x = g.constant(t)
				have[v] = x
			}
			if x == nil {
				return done
			}
			in[i] = x
		}
		if d := n.Op().Domain; d != "" && g.m.Opset(d) == 0 {
			if g.graph().Function() != nil || motif.Opset(d) == 0 {
				return done
			}
			g.m.SetOpset(d, motif.Opset(d))
		}
		out := g.node(n.Op(), in, n.NumResults(), n.Attrs()...)
		if out == nil {
			return done
		}
		done = true
		for i, v := range n.Results() {
			have[v] = out[i]
		}
	}
	return done
}

// like reports a shape that has the sizes that are not negative.
func like(shape, want []int64) bool {
	return slices.EqualFunc(shape, want, func(a, b int64) bool { return b < 0 || a == b })
}
