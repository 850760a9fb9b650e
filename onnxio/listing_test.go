package onnxio

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// irListing spells a model of package ir as oracle.list does a file.
type irListing struct {
	listing
	t     *testing.T
	names *naming.Names
}

func listModel(t *testing.T, m *ir.Model) []string {
	names, err := naming.Assign(m)
	require.NoError(t, err)
	l := &irListing{t: t, names: names}
	l.add("ir %d producer %q %q domain %q version %d", m.IRVersion, m.ProducerName, m.ProducerVersion, m.DomainName, m.Version)
	l.add("doc %q meta %q", m.Meta.DocString(), props(m.Meta))
	l.opsets(m.Opsets())
	l.in("main", func() { l.graph(m.Main) })
	for _, f := range m.Functions {
		l.in("function", func() { l.function(f) })
	}
	for _, tr := range m.Training {
		l.in("training", func() {
			l.add("bind %q update %q", l.bindings(tr.InitBinding), l.bindings(tr.UpdateBinding))
			if tr.Initialization != nil {
				l.in("initialization", func() { l.graph(tr.Initialization) })
			}
			if tr.Algorithm != nil {
				l.in("algorithm", func() { l.graph(tr.Algorithm) })
			}
		})
	}
	return l.lines
}

func props(m *ir.Meta) (r []string) {
	if m != nil {
		for _, p := range m.Props {
			r = append(r, fmt.Sprintf("%q=%q", p.Key, p.Value))
		}
	}
	return r
}

func (l *irListing) bindings(bs []ir.Binding) (r []string) {
	for _, b := range bs {
		name := b.TargetName
		if b.Target != nil {
			name = l.names.Value(b.Target)
		}
		r = append(r, fmt.Sprintf("%q=%q", name, b.Output))
	}
	return r
}

func (l *irListing) opsets(os []ir.Opset) {
	for _, o := range os {
		l.add("opset %q %d", ir.Domain(o.Domain), o.Version)
	}
}

func (l *irListing) function(f *ir.Function) {
	l.add("id %q %q %q attrs %q", f.Domain, f.Name, f.Overload, f.Attrs)
	l.add("doc %q meta %q", f.Meta.DocString(), props(f.Meta))
	l.opsets(f.Opsets())
	for _, a := range f.Defaults {
		l.attr(a)
	}
	for _, s := range f.Graph.Inputs() {
		l.add("input %q", l.names.Slot(s))
	}
	l.body(f.Graph)
	for _, s := range f.Graph.Outputs() {
		l.add("output %q", l.names.Slot(s))
	}
}

func (l *irListing) graph(g *ir.Graph) {
	l.add("graph %q doc %q meta %q", g.Name(), g.Meta.DocString(), props(g.Meta))
	for _, s := range g.Inputs() {
		l.add("input %q %s doc %q meta %q", l.names.Slot(s), irType(s.Type()), s.Meta.DocString(), props(s.Meta))
	}
	l.sorted(func() {
		for _, s := range g.Inputs() {
			if t := s.Value().Default(); t != nil {
				l.init(l.names.Slot(s), t)
			}
		}
		for _, v := range g.Consts() {
			l.init(l.names.Value(v), v.Const())
		}
	})
	l.body(g)
	for _, s := range g.Outputs() {
		l.add("output %q %s doc %q meta %q", l.names.Slot(s), irType(s.Type()), s.Meta.DocString(), props(s.Meta))
	}
}

func (l *irListing) init(name string, t *ir.Tensor) {
	if s := sparseOf(t); s != nil {
		l.add("sparse init %q %s", name, l.sparse(s))
	} else {
		l.add("init %q %s", name, l.tensor(t))
	}
}

// body lists nodes and the types of their results, and of what else has none stated by the interface.
func (l *irListing) body(g *ir.Graph) {
	typed := map[string]*ir.Type{}
	ids := map[string]bool{}
	for n, i := range l.names.Nodes(g) {
		if n == nil {
			ids[i.Name] = true
			name, meta, _, _ := i.Slot.Extra.(keep.Identity).Identity()
			l.add("node %q op %q %q %q in %q out %q doc %q meta %q", name, "", "Identity", "", []string{l.names.Value(i.Value)}, []string{i.Name}, meta.DocString(), props(meta))
			continue
		}
		for _, v := range n.Results() {
			if v != nil {
				typed[l.names.Value(v)] = v.Type()
			}
		}
		l.add("node %q op %q %q %q in %q out %q doc %q meta %q", n.Name(), n.Op().Domain, n.Op().Type, n.Op().Overload,
			l.values(n.Operands()), l.values(n.Results()), n.Meta().DocString(), props(n.Meta()))
		for _, a := range n.Attrs() {
			l.attr(a)
		}
	}
	if g.IsBody() {
		for _, s := range g.Inputs() {
			typed[l.names.Slot(s)] = s.Type()
		}
	}
	if k, ok := g.Extra.(keep.Unbound); ok {
		for _, i := range k.Unbound() {
			if ids[i.Name] {
				typed[i.Name] = i.Type
			}
		}
	}
	l.sorted(func() {
		for name, t := range typed {
			if t != nil {
				l.add("info %q %s", name, irType(t))
			}
		}
	})
}

func (l *irListing) values(vs []*ir.Value) (r []string) {
	for _, v := range vs {
		r = append(r, l.names.Value(v))
	}
	return r
}

func (l *irListing) attr(a *ir.Attr) {
	value := ""
	switch a.Kind {
	case ir.AttrFloat:
		value = fmt.Sprintf("%08x", math.Float32bits(a.Float()))
	case ir.AttrInt:
		value = fmt.Sprint(a.Int())
	case ir.AttrString:
		value = fmt.Sprintf("%q", a.Str())
	case ir.AttrFloats:
		for _, v := range a.Floats() {
			value += fmt.Sprintf("%08x ", math.Float32bits(v))
		}
	case ir.AttrInts:
		for _, v := range a.Ints() {
			value += fmt.Sprint(v, " ")
		}
	case ir.AttrStrings:
		for _, v := range a.Strs() {
			value += fmt.Sprintf("%q ", v)
		}
	case ir.AttrTensor:
		if a.Ref == "" {
			value = l.tensor(a.Tensor())
		}
	case ir.AttrTensors:
		for _, t := range a.Tensors() {
			value += l.tensor(t) + " "
		}
	case ir.AttrSparseTensor:
		if a.Ref == "" {
			value = l.sparse(a.Sparse())
		}
	case ir.AttrSparseTensors:
		for _, s := range a.Sparses() {
			value += l.sparse(s) + " "
		}
	case ir.AttrType:
		if a.Ref == "" {
			value = irType(a.Type())
		}
	case ir.AttrTypes:
		for _, t := range a.Types() {
			value += irType(t) + " "
		}
	}
	if a.Ref != "" {
		value = ""
	}
	l.add("attr %q kind %d ref %q doc %q %s", a.Name, a.Kind, a.Ref, a.Doc, value)
	for _, g := range a.Graphs() {
		l.in(a.Name, func() { l.graph(g) })
	}
}

func irType(t *ir.Type) string {
	if t == nil {
		return "none"
	}
	s := ""
	switch t.Kind {
	case ir.KindTensor:
		s = "tensor " + irTensorType(t)
	case ir.KindSparse:
		s = "sparse " + irTensorType(t)
	case ir.KindSequence:
		s = "seq(" + irType(t.Of) + ")"
	case ir.KindOptional:
		s = "opt(" + irType(t.Of) + ")"
	case ir.KindMap:
		s = fmt.Sprintf("map(%d %s)", t.Elem, irType(t.Of))
	case ir.KindOpaque:
		s = fmt.Sprintf("opaque %q %q", t.Domain, t.Name)
	}
	return s + fmt.Sprintf(" %q", t.Denotation)
}

func irTensorType(t *ir.Type) string {
	s := fmt.Sprint(int(t.Elem))
	if t.Shape == nil {
		return s
	}
	s += "["
	for _, d := range t.Shape {
		s += fmt.Sprintf("%d %q %q,", d.Size, d.Param, d.Denotation)
	}
	return s + "]"
}

func (l *irListing) sparse(s *ir.SparseTensor) string {
	return fmt.Sprint("dims ", s.Dims, " values ", l.tensor(s.Values), " indices ", l.tensor(s.Indices))
}

func (l *irListing) tensor(t *ir.Tensor) string {
	var b []byte
	if t.DType() == ir.String {
		ss, err := t.Strings()
		require.NoError(l.t, err)
		for _, s := range ss {
			b = fmt.Appendf(b, "%q", s)
		}
	} else {
		var err error
		b, err = t.Bytes()
		require.NoError(l.t, err)
	}
	return spellTensor(int64(t.DType()), slices.Clone(t.Shape()), b, t.Meta().DocString(), props(t.Meta()))
}

func spellTensor(dtype int64, dims []int64, b []byte, doc string, props []string) string {
	return fmt.Sprintf("%d%v %x doc %q meta %q", dtype, dims, sha256.Sum256(b), doc, props)
}

// sameListing compares a file, as the protobuf library reads it, with a model.
func (o oracle) sameListing(t *testing.T, name string, b []byte, m *ir.Model) {
	t.Helper()
	want, got := o.list(t, b), listModel(t, m)
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			assert.Fail(t, "the models differ", "%s line %d:\nprotobuf: %s\nours:     %s", name, i, want[i], got[i])
			return
		}
	}
	assert.Len(t, got, len(want), name)
}

// What this package reads is what the protobuf library reads, field by field. What it writes after edits is read by the protobuf
// library as the edited model, and has the unknown fields that were there.
func TestAgainstProtobuf(t *testing.T) {
	o := newOracle(t)
	check := func(name string, b []byte) {
		if testing.Short() && len(b) > 1<<20 {
			return
		}
		m := mustRead(t, b, Options{}).Model
		o.sameListing(t, name, b, m)
		if len(b) > 1<<24 {
			return // one large model more says no more about edits
		}
		disturb(m)
		require.NoError(t, ir.Verify(m), name)
		out := bytesOf(t, m)
		o.sameListing(t, name+" edited", out, m)
		assert.Equal(t, unknownFields(o.parse(t, b)), unknownFields(o.parse(t, out)), name)
	}
	check("everything", everything(t))
	eachModel(t, check)
}

// disturb changes something of every kind: names of values and nodes, metadata, types, attributes, operand lists.
func disturb(m *ir.Model) {
	m.Meta = m.Meta.With("disturbed", "yes")
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			v.SetName("c/" + v.Name())
		}
	}
	i := 0
	for n := range m.Nodes() {
		i++
		for _, v := range n.Results() {
			if v != nil && i%3 == 0 {
				v.SetName("v/" + v.Name())
			}
		}
		switch i % 5 {
		case 0:
			n.SetName(strings.ToUpper(n.Name()) + "!")
		case 1:
			n.SetMeta(n.Meta().With("at", fmt.Sprint(i)))
		case 2:
			n.SetAttr(ir.FloatsAttr("disturbed", []float32{1.5, float32(math.Inf(-1))}))
		case 3:
			n.AddOperand(nil)
		}
	}
}
