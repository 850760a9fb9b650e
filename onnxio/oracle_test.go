package onnxio

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// listing spells a model field by field, one line each. Two are made, of what the protobuf library reads from a file and of what this
// package made of it, by code that shares nothing but the layout of the lines.
type listing struct {
	lines []string
	at    []string
}

func (l *listing) add(format string, a ...any) {
	l.lines = append(l.lines, strings.Join(l.at, "/")+" "+fmt.Sprintf(format, a...))
}

func (l *listing) in(what string, f func()) {
	l.at = append(l.at, what)
	f()
	l.at = l.at[:len(l.at)-1]
}

// sorted puts the lines that f adds in order: those of a set.
func (l *listing) sorted(f func()) {
	n := len(l.lines)
	f()
	sort.Strings(l.lines[n:])
}

// pb is a message of the protobuf library with fields by name.
type pb struct{ protoreflect.Message }

func (p pb) field(name string) protoreflect.FieldDescriptor {
	fd := p.Descriptor().Fields().ByName(protoreflect.Name(name))
	if fd == nil {
		panic(fmt.Sprint(p.Descriptor().FullName(), " has no field ", name))
	}
	return fd
}

func (p pb) has(name string) bool     { return p.Has(p.field(name)) }
func (p pb) str(name string) string   { return p.Get(p.field(name)).String() }
func (p pb) bytes(name string) string { return string(p.Get(p.field(name)).Bytes()) }
func (p pb) num(name string) int64 {
	if v := p.Get(p.field(name)); p.field(name).Kind() == protoreflect.EnumKind {
		return int64(v.Enum())
	} else {
		return v.Int()
	}
}
func (p pb) msg(name string) pb { return pb{p.Get(p.field(name)).Message()} }

func (p pb) list(name string) (r []protoreflect.Value) {
	l := p.Get(p.field(name)).List()
	for i := range l.Len() {
		r = append(r, l.Get(i))
	}
	return r
}

func (p pb) msgs(name string) (r []pb) {
	for _, v := range p.list(name) {
		r = append(r, pb{v.Message()})
	}
	return r
}

func (p pb) strs(name string) (r []string) {
	for _, v := range p.list(name) {
		r = append(r, v.String())
	}
	return r
}

func (p pb) props(name string) (r []string) {
	for _, e := range p.msgs(name) {
		r = append(r, fmt.Sprintf("%q=%q", e.str("key"), e.str("value")))
	}
	return r
}

// list spells the message that the protobuf library read.
func (o oracle) list(t *testing.T, b []byte) []string {
	l := &pbListing{}
	l.model(pb{o.parse(t, b).ProtoReflect()})
	return l.lines
}

type pbListing struct {
	listing
	ir int64
}

func (l *pbListing) model(m pb) {
	l.ir = m.num("ir_version")
	l.add("ir %d producer %q %q domain %q version %d", l.ir, m.str("producer_name"), m.str("producer_version"), m.str("domain"), m.num("model_version"))
	l.add("doc %q meta %q", m.str("doc_string"), m.props("metadata_props"))
	l.opsets(m.msgs("opset_import"))
	l.in("main", func() { l.graph(m.msg("graph")) })
	for _, f := range m.msgs("functions") {
		l.in("function", func() { l.function(f) })
	}
	for _, tr := range m.msgs("training_info") {
		l.in("training", func() {
			l.add("bind %q update %q", tr.props("initialization_binding"), tr.props("update_binding"))
			for _, part := range []string{"initialization", "algorithm"} {
				if tr.has(part) {
					l.in(part, func() { l.graph(tr.msg(part)) })
				}
			}
		})
	}
}

func (l *pbListing) opsets(os []pb) {
	seen := map[string]bool{}
	for _, o := range os {
		if d := ir.Domain(o.str("domain")); !seen[d] {
			seen[d] = true
			l.add("opset %q %d", d, o.num("version"))
		}
	}
}

func (l *pbListing) function(f pb) {
	l.add("id %q %q %q attrs %q", f.str("domain"), f.str("name"), f.str("overload"), f.strs("attribute"))
	l.add("doc %q meta %q", f.str("doc_string"), f.props("metadata_props"))
	l.opsets(f.msgs("opset_import"))
	for _, a := range f.msgs("attribute_proto") {
		l.attr(a)
	}
	for _, s := range f.strs("input") {
		l.add("input %q", s)
	}
	made := l.nodes(f.msgs("node"), f.strs("output"), f.strs("input"), nil)
	for _, s := range f.strs("input") {
		made[s] = true
	}
	l.infos(f.msgs("value_info"), made)
	for _, s := range f.strs("output") {
		l.add("output %q", s)
	}
}

func (l *pbListing) graph(g pb) {
	l.add("graph %q doc %q meta %q", g.str("name"), g.str("doc_string"), g.props("metadata_props"))
	inits := map[string]bool{}
	for _, t := range g.msgs("initializer") {
		inits[t.str("name")] = true
	}
	for _, s := range g.msgs("sparse_initializer") {
		inits[s.msg("values").str("name")] = true
	}
	var free, outs []string
	for _, v := range g.msgs("input") {
		name := v.str("name")
		if l.ir < 4 && inits[name] {
			continue
		}
		free = append(free, name)
		l.add("input %q %s doc %q meta %q", name, pbType(v.msg("type")), v.str("doc_string"), v.props("metadata_props"))
	}
	l.sorted(func() {
		for _, t := range g.msgs("initializer") {
			l.add("init %q %s", t.str("name"), pbTensor(t))
		}
		for _, s := range g.msgs("sparse_initializer") {
			l.add("sparse init %q %s", s.msg("values").str("name"), pbSparse(s))
		}
	})
	for _, v := range g.msgs("output") {
		outs = append(outs, v.str("name"))
	}
	l.infos(g.msgs("value_info"), l.nodes(g.msgs("node"), outs, free, inits))
	for _, v := range g.msgs("output") {
		l.add("output %q %s doc %q meta %q", v.str("name"), pbType(v.msg("type")), v.str("doc_string"), v.props("metadata_props"))
	}
}

// nodes lists nodes and returns the names of their results.
func (l *pbListing) nodes(ns []pb, outs, free []string, inits map[string]bool) map[string]bool {
	made := map[string]bool{}
	for _, n := range ns {
		l.add("node %q op %q %q %q in %q out %q doc %q meta %q", n.str("name"), ir.Domain(n.str("domain")), n.str("op_type"), n.str("overload"),
			n.strs("input"), n.strs("output"), n.str("doc_string"), n.props("metadata_props"))
		for _, a := range n.msgs("attribute") {
			l.attr(a)
		}
		for _, s := range n.strs("output") {
			made[s] = true
		}
	}
	return made
}

func (l *pbListing) infos(vs []pb, made map[string]bool) {
	seen := map[string]bool{}
	l.sorted(func() {
		for _, v := range vs {
			if name := v.str("name"); made[name] && !seen[name] && v.has("type") {
				seen[name] = true
				l.add("info %q %s", name, pbType(v.msg("type")))
			}
		}
	})
}

func (l *pbListing) attr(a pb) {
	kind := ir.AttrKind(a.num("type"))
	value := ""
	switch kind {
	case ir.AttrFloat:
		value = fmt.Sprintf("%08x", math.Float32bits(float32(a.Get(a.field("f")).Float())))
	case ir.AttrInt:
		value = fmt.Sprint(a.num("i"))
	case ir.AttrString:
		value = fmt.Sprintf("%q", a.bytes("s"))
	case ir.AttrFloats:
		for _, v := range a.list("floats") {
			value += fmt.Sprintf("%08x ", math.Float32bits(float32(v.Float())))
		}
	case ir.AttrInts:
		for _, v := range a.list("ints") {
			value += fmt.Sprint(v.Int(), " ")
		}
	case ir.AttrStrings:
		for _, v := range a.list("strings") {
			value += fmt.Sprintf("%q ", string(v.Bytes()))
		}
	case ir.AttrTensor:
		if a.has("t") {
			value = pbTensor(a.msg("t"))
		}
	case ir.AttrTensors:
		for _, t := range a.msgs("tensors") {
			value += pbTensor(t) + " "
		}
	case ir.AttrSparseTensor:
		if a.has("sparse_tensor") {
			value = pbSparse(a.msg("sparse_tensor"))
		}
	case ir.AttrSparseTensors:
		for _, s := range a.msgs("sparse_tensors") {
			value += pbSparse(s) + " "
		}
	case ir.AttrType:
		if a.has("tp") {
			value = pbType(a.msg("tp"))
		}
	case ir.AttrTypes:
		for _, t := range a.msgs("type_protos") {
			value += pbType(t) + " "
		}
	}
	if a.str("ref_attr_name") != "" {
		value = ""
	}
	l.add("attr %q kind %d ref %q doc %q %s", a.str("name"), kind, a.str("ref_attr_name"), a.str("doc_string"), value)
	graphs := a.msgs("graphs")
	if a.has("g") {
		graphs = append(graphs, a.msg("g"))
	}
	for _, g := range graphs {
		l.in(a.str("name"), func() { l.graph(g) })
	}
}

func pbType(t pb) string {
	s := ""
	switch {
	case !t.IsValid():
		return "none"
	case t.has("tensor_type"):
		s = "tensor " + pbTensorType(t.msg("tensor_type"))
	case t.has("sparse_tensor_type"):
		s = "sparse " + pbTensorType(t.msg("sparse_tensor_type"))
	case t.has("sequence_type"):
		s = "seq(" + pbType(t.msg("sequence_type").msg("elem_type")) + ")"
	case t.has("optional_type"):
		s = "opt(" + pbType(t.msg("optional_type").msg("elem_type")) + ")"
	case t.has("map_type"):
		s = fmt.Sprintf("map(%d %s)", t.msg("map_type").num("key_type"), pbType(t.msg("map_type").msg("value_type")))
	case t.has("opaque_type"):
		s = fmt.Sprintf("opaque %q %q", t.msg("opaque_type").str("domain"), t.msg("opaque_type").str("name"))
	}
	return s + fmt.Sprintf(" %q", t.str("denotation"))
}

func pbTensorType(t pb) string {
	s := fmt.Sprint(t.num("elem_type"))
	if !t.has("shape") {
		return s
	}
	s += "["
	for _, d := range t.msg("shape").msgs("dim") {
		size, param := int64(-1), ""
		if d.has("dim_value") {
			size = d.num("dim_value")
		} else {
			param = d.str("dim_param")
		}
		s += fmt.Sprintf("%d %q %q,", size, param, d.str("denotation"))
	}
	return s + "]"
}

func pbSparse(s pb) string {
	return fmt.Sprint("dims ", pbInts(s.list("dims")), " values ", pbTensor(s.msg("values")), " indices ", pbTensor(s.msg("indices")))
}

func pbInts(vs []protoreflect.Value) []int64 {
	r := []int64{}
	for _, v := range vs {
		r = append(r, v.Int())
	}
	return r
}

// pbTensor decodes a TensorProto as onnx.proto describes it.
func pbTensor(t pb) string {
	var b []byte
	d := ir.DType(t.num("data_type"))
	width := max(1, d.Bits()/8)
	for _, v := range t.list("float_data") {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v.Float())))
	}
	for _, v := range t.list("double_data") {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	}
	for _, v := range t.list("int32_data") {
		b = append(b, binary.LittleEndian.AppendUint32(nil, uint32(v.Int()))[:width]...)
	}
	for _, v := range t.list("int64_data") {
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Int()))
	}
	for _, v := range t.list("uint64_data") {
		b = append(b, binary.LittleEndian.AppendUint64(nil, v.Uint())[:width]...)
	}
	for _, v := range t.list("string_data") {
		b = fmt.Appendf(b, "%q", string(v.Bytes()))
	}
	b = append(b, t.bytes("raw_data")...)
	return spellTensor(int64(d), pbInts(t.list("dims")), b, t.str("doc_string"), t.props("metadata_props"))
}

// unknownFields lists the fields that the descriptor does not have, wherever they are.
func unknownFields(m protoreflect.Message) (r []string) {
	if u := m.GetUnknown(); len(u) > 0 {
		r = append(r, string(m.Descriptor().Name())+string(u))
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				r = append(r, unknownFields(v.List().Get(i).Message())...)
			}
		default:
			r = append(r, unknownFields(v.Message())...)
		}
		return true
	})
	slices.Sort(r)
	return r
}
