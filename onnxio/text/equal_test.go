package text_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// difference walks two models side by side and names the first thing that differs, "" if nothing does. Of Extra fields it
// looks at what both tell through package keep; origins it leaves out.
func difference(a, b *ir.Model) string {
	d := &differ{}
	d.field("ir_version", a.IRVersion, b.IRVersion)
	d.field("opset_import", a.Opsets(), b.Opsets())
	d.field("producer", a.ProducerName+"|"+a.ProducerVersion, b.ProducerName+"|"+b.ProducerVersion)
	d.field("domain", a.DomainName, b.DomainName)
	d.field("model_version", a.Version, b.Version)
	d.meta("model", a.Meta, b.Meta)
	d.graph("graph", a.Main, b.Main)
	if d.field("functions", len(a.Functions), len(b.Functions)) {
		for i, f := range a.Functions {
			d.function(f, b.Functions[i])
		}
	}
	if d.field("training_info", len(a.Training), len(b.Training)) {
		for i, t := range a.Training {
			d.training(t, b.Training[i])
		}
	}
	return d.found
}

type differ struct{ found string }

func (d *differ) field(what string, a, b any) bool {
	x, y := fmt.Sprintf("%q", fmt.Sprint(a)), fmt.Sprintf("%q", fmt.Sprint(b))
	if x != y && d.found == "" {
		d.found = what + ": " + x + " and " + y
	}
	return x == y
}

func (d *differ) meta(what string, a, b *ir.Meta) {
	d.field(what+" doc", a.DocString(), b.DocString())
	var p, q []ir.Prop
	if a != nil {
		p = a.Props
	}
	if b != nil {
		q = b.Props
	}
	d.field(what+" metadata", p, q)
}

// typ compares types to the last denotation.
func (d *differ) typ(what string, a, b *ir.Type) {
	if d.field(what+" has type", a != nil, b != nil) && a != nil {
		d.field(what+" kind", a.Kind, b.Kind)
		d.field(what+" elem", a.Elem, b.Elem)
		d.field(what+" rank known", a.Shape.Known(), b.Shape.Known())
		d.field(what+" shape", fmt.Sprintf("%#v", a.Shape), fmt.Sprintf("%#v", b.Shape))
		d.field(what+" denotation", a.Denotation, b.Denotation)
		d.field(what+" opaque", a.Domain+"|"+a.Name, b.Domain+"|"+b.Name)
		d.typ(what+" of", a.Of, b.Of)
	}
}

func (d *differ) tensor(what string, a, b *ir.Tensor) {
	if !d.field(what+" is there", a != nil, b != nil) || a == nil {
		return
	}
	d.field(what+" dtype", a.DType(), b.DType())
	d.field(what+" dims", a.Shape(), b.Shape())
	d.meta(what, a.Meta(), b.Meta())
	s, ok1 := a.Payload().(keep.Sparse)
	t, ok2 := b.Payload().(keep.Sparse)
	if ok1 && ok2 {
		d.sparse(what, s.Sparse(), t.Sparse())
		return
	}
	x, ok1 := a.Payload().(keep.External)
	y, ok2 := b.Payload().(keep.External)
	if ok1 && ok2 {
		d.field(what+" external", x.External(), y.External())
		return
	}
	if a.DType() == ir.String {
		p, err1 := a.Strings()
		q, err2 := b.Strings()
		d.field(what+" strings", fmt.Sprintf("%q %v", p, err1), fmt.Sprintf("%q %v", q, err2))
		return
	}
	p, err1 := a.Bytes()
	q, err2 := b.Bytes()
	d.field(what+" error", err1, err2)
	if !bytes.Equal(p, q) {
		d.field(what+" bytes", p[:min(len(p), 64)], fmt.Sprint(q[:min(len(q), 64)], "..."))
	}
}

func (d *differ) sparse(what string, a, b *ir.SparseTensor) {
	d.field(what+" dims", a.Dims, b.Dims)
	for i, x := range []*ir.Tensor{a.Values, a.Indices} {
		y := []*ir.Tensor{b.Values, b.Indices}[i]
		d.field(what+" name", x.Name(), y.Name())
		d.tensor(what, x, y)
	}
}

func (d *differ) slots(what string, a, b []*ir.Slot) {
	if !d.field(what, len(a), len(b)) {
		return
	}
	for i, s := range a {
		what := what + " " + s.Name()
		d.field(what, s.Name(), b[i].Name())
		d.typ(what, s.Type(), b[i].Type())
		d.meta(what, s.Meta, b[i].Meta)
		d.value(what, s.Value(), b[i].Value())
		name1, meta1, pos1, had1 := identity(s)
		name2, meta2, pos2, had2 := identity(b[i])
		d.field(what+" identity", fmt.Sprint(name1, pos1, had1), fmt.Sprint(name2, pos2, had2))
		d.meta(what+" identity", meta1, meta2)
	}
}

func identity(s *ir.Slot) (name string, m *ir.Meta, pos int64, ok bool) {
	if k, is := s.Extra.(keep.Identity); is {
		return k.Identity()
	}
	return "", nil, 0, false
}

func quantization(v *ir.Value) []ir.Prop {
	if k, ok := v.Extra.(keep.Quantization); ok {
		return k.Quantization()
	}
	return nil
}

// unbound is what the file says of names nobody has, by name: the order of value_info means nothing.
func unbound(g *ir.Graph) []keep.Info {
	k, ok := g.Extra.(keep.Unbound)
	if !ok {
		return nil
	}
	r := slices.Clone(k.Unbound())
	slices.SortStableFunc(r, func(a, b keep.Info) int { return strings.Compare(a.Name, b.Name) })
	return r
}

func (d *differ) value(what string, a, b *ir.Value) {
	if !d.field(what+" is there", a != nil, b != nil) || a == nil {
		return
	}
	what += " " + a.Name()
	d.field(what+" name", a.Name(), b.Name())
	d.field(what+" depth", a.Graph().Depth(), b.Graph().Depth())
	d.typ(what, a.Type(), b.Type())
	d.meta(what, a.Meta, b.Meta)
	d.tensor(what+" default", a.Default(), b.Default())
	d.field(what+" quantization", quantization(a), quantization(b))
}

func (d *differ) graph(what string, a, b *ir.Graph) {
	x, y := unbound(a), unbound(b)
	if d.field(what+" unbound", len(x), len(y)) {
		for i, u := range x {
			d.field(what+" unbound", u.Name, y[i].Name)
			d.typ(what+" unbound "+u.Name, u.Type, y[i].Type)
			d.meta(what+" unbound "+u.Name, u.Meta, y[i].Meta)
			d.field(what+" unbound "+u.Name, u.Quant, y[i].Quant)
		}
	}
	d.field(what+" name", a.Name(), b.Name())
	d.meta(what, a.Meta, b.Meta)
	d.slots(what+" input", a.Inputs(), b.Inputs())
	if d.field(what+" initializers", len(a.Consts()), len(b.Consts())) {
		for i, v := range a.Consts() {
			w := b.Consts()[i]
			d.value(what+" initializer", v, w)
			d.tensor(what+" initializer "+v.Name(), v.Const(), w.Const())
		}
	}
	ns, ms := a.NodeList(), b.NodeList()
	if d.field(what+" nodes", len(ns), len(ms)) {
		for i, n := range ns {
			d.node(fmt.Sprintf("%s node[%d]", what, i), n, ms[i])
		}
	}
	d.slots(what+" output", a.Outputs(), b.Outputs())
}

func (d *differ) node(what string, a, b *ir.Node) {
	d.field(what+" name", a.Name(), b.Name())
	d.field(what+" op", a.Op(), b.Op())
	d.meta(what, a.Meta(), b.Meta())
	if d.field(what+" operands", a.NumOperands(), b.NumOperands()) {
		for i, v := range a.Operands() {
			d.value(fmt.Sprint(what, " operand ", i), v, b.Operand(i))
		}
	}
	if d.field(what+" results", a.NumResults(), b.NumResults()) {
		for i, v := range a.Results() {
			d.value(fmt.Sprint(what, " result ", i), v, b.Result(i))
		}
	}
	if d.field(what+" attributes", len(a.Attrs()), len(b.Attrs())) {
		for i, x := range a.Attrs() {
			d.attr(what+" attribute "+x.Name, x, b.Attrs()[i])
		}
	}
}

func (d *differ) attr(what string, a, b *ir.Attr) {
	d.field(what+" name", a.Name, b.Name)
	d.field(what+" doc", a.Doc, b.Doc)
	d.field(what+" ref", a.Ref, b.Ref)
	if !d.field(what+" kind", a.Kind, b.Kind) {
		return
	}
	d.field(what+" int", a.Int(), b.Int())
	d.field(what+" ints", a.Ints(), b.Ints())
	d.field(what+" float", math.Float32bits(a.Float()), math.Float32bits(b.Float()))
	bits := func(fs []float32) (r []uint32) {
		for _, f := range fs {
			r = append(r, math.Float32bits(f))
		}
		return r
	}
	d.field(what+" floats", bits(a.Floats()), bits(b.Floats()))
	d.field(what+" string", a.Str(), b.Str())
	d.field(what+" strings", fmt.Sprintf("%q", a.Strs()), fmt.Sprintf("%q", b.Strs()))
	tensors := func(a *ir.Attr) []*ir.Tensor { return slices.Concat([]*ir.Tensor{a.Tensor()}, a.Tensors()) }
	if d.field(what+" tensors", len(tensors(a)), len(tensors(b))) {
		for i, t := range tensors(a) {
			if t != nil {
				d.field(what+" tensor name", t.Name(), tensors(b)[i].Name())
			}
			d.tensor(what, t, tensors(b)[i])
		}
	}
	types := func(a *ir.Attr) []*ir.Type { return slices.Concat([]*ir.Type{a.Type()}, a.Types()) }
	if d.field(what+" types", len(types(a)), len(types(b))) {
		for i, t := range types(a) {
			d.typ(what, t, types(b)[i])
		}
	}
	if d.field(what+" sparse", len(a.Sparses()), len(b.Sparses())) {
		for i, s := range a.Sparses() {
			d.sparse(what, s, b.Sparses()[i])
		}
	}
	if a.Sparse() != nil && b.Sparse() != nil {
		d.sparse(what, a.Sparse(), b.Sparse())
	}
	if d.field(what+" graphs", len(a.Graphs()), len(b.Graphs())) {
		for i, g := range a.Graphs() {
			d.graph(what, g, b.Graphs()[i])
		}
	}
}

func (d *differ) function(a, b *ir.Function) {
	what := "function " + a.ID().String()
	d.field(what, a.Domain+"|"+a.Name+"|"+a.Overload, b.Domain+"|"+b.Name+"|"+b.Overload)
	d.field(what+" opset_import", a.Opsets(), b.Opsets())
	d.field(what+" attributes", a.Attrs, b.Attrs)
	d.meta(what, a.Meta, b.Meta)
	if d.field(what+" defaults", len(a.Defaults), len(b.Defaults)) {
		for i, x := range a.Defaults {
			d.attr(what+" default", x, b.Defaults[i])
		}
	}
	d.graph(what, a.Graph, b.Graph)
}

func (d *differ) training(a, b *ir.TrainingInfo) {
	for i, g := range []*ir.Graph{a.Initialization, a.Algorithm} {
		h := []*ir.Graph{b.Initialization, b.Algorithm}[i]
		if d.field("training graph", g != nil, h != nil) && g != nil {
			d.graph("training", g, h)
		}
	}
	bindings := func(bs []ir.Binding) (r []string) {
		for _, x := range bs {
			name := x.TargetName
			if x.Target != nil {
				name = "=" + x.Target.Name()
			}
			r = append(r, name+":"+x.Output)
		}
		return r
	}
	d.field("initialization_binding", bindings(a.InitBinding), bindings(b.InitBinding))
	d.field("update_binding", bindings(a.UpdateBinding), bindings(b.UpdateBinding))
}
