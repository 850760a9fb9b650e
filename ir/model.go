package ir

import (
	"fmt"
	"iter"
	"slices"
	"unsafe"
)

// Extra is what a reader keeps of a message so that the writer can give it back unchanged. Only the package that made it
// looks inside; for everybody else a nil Extra means "made here".
type Extra any

// Prop is an entry of metadata_props.
type Prop struct{ Key, Value string }

// Meta is the documentation and the metadata of a model, graph, node, value, tensor or function. It is immutable: replace it.
type Meta struct {
	Doc   string
	Props []Prop
}

// Get returns the value of the first property of that key. It is safe on nil.
func (m *Meta) Get(key string) (string, bool) {
	if m != nil {
		for _, p := range m.Props {
			if p.Key == key {
				return p.Value, true
			}
		}
	}
	return "", false
}

// With returns a copy in which key has that value. It is safe on nil.
func (m *Meta) With(key, value string) *Meta {
	r := &Meta{}
	if m != nil {
		*r = Meta{Doc: m.Doc, Props: slices.Clone(m.Props)}
	}
	for i, p := range r.Props {
		if p.Key == key {
			r.Props[i].Value = value
			return r
		}
	}
	r.Props = append(r.Props, Prop{key, value})
	return r
}

// DocString is the documentation. It is safe on nil.
func (m *Meta) DocString() string {
	if m == nil {
		return ""
	}
	return m.Doc
}

// Opset is an imported operator set. Domain is as spelled: "" and "ai.onnx" name the same one.
type Opset struct {
	Domain  string
	Version int64
}

// Domain returns the canonical spelling: "ai.onnx" is the default domain, "".
func Domain(s string) string {
	if s == "ai.onnx" {
		return ""
	}
	return s
}

// Model is a whole ONNX model. Fields may be set directly; opsets through SetOpset. The list of functions may be replaced or
// appended to; neither its elements nor the names of functions may be changed in place.
type Model struct {
	Main            *Graph
	Functions       []*Function
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	DomainName      string // ModelProto.domain
	Version         int64  // ModelProto.model_version
	Meta            *Meta
	Training        []*TrainingInfo
	Extra           Extra

	opsets    []Opset
	epochs    [numFacets]uint64
	made      int64 // nodes made so far: second key of the derived order
	values    int32 // values made so far
	shuffle   uint64
	listeners []*Listener
	index     functionIndex
	kinds     []OpID // operators that nodes have had, by kind
	kindOf    map[OpID]int32
	graphs    graphList
}

// graphList is the list behind Model.Graphs, and what it was made of.
type graphList struct {
	list  []*Graph
	at    uint64
	roots []*Graph
}

// kind numbers op among the operators of m's nodes.
func (m *Model) kind(op OpID) int32 {
	k, ok := m.kindOf[op]
	if !ok {
		if m.kindOf == nil {
			m.kindOf = map[OpID]int32{}
		}
		k = int32(len(m.kinds))
		m.kinds = append(m.kinds, op)
		m.kindOf[op] = k
	}
	return k
}

// NumValues is the number of values that m has had: larger than every Value.Index.
func (m *Model) NumValues() int { return int(m.values) }

// number is the index of a value that is being made.
func (m *Model) number() int32 {
	m.values++
	return m.values - 1
}

// Kinds are the operators of m's nodes, and those that nodes of m had once: an operator that is not among them has no node. See
// Node.Kind. The caller must not change the list.
func (m *Model) Kinds() []OpID { return m.kinds }

// Kind is the place of op in Kinds; ok is false if no node has ever been of that operator.
func (m *Model) Kind(op OpID) (kind int, ok bool) {
	k, ok := m.kindOf[op]
	return int(k), ok
}

// MayHave reports whether a node of m may be of that operator, in constant time.
func (m *Model) MayHave(op OpID) bool {
	_, ok := m.kindOf[op]
	return ok
}

// TrainingInfo is a TrainingInfoProto. Its graphs see the main graph's values; its bindings refer to values, so that they
// follow renaming.
type TrainingInfo struct {
	Initialization, Algorithm  *Graph
	InitBinding, UpdateBinding []Binding
	Extra                      Extra
}

// Binding assigns an output of a training graph to an initializer.
type Binding struct {
	Target     *Value // the initializer; nil if the file names one that nobody has
	TargetName string // its name where Target is nil
	Output     string // name of the training graph's output
}

// NewModel returns an empty model of the given ONNX operator set.
func NewModel(irVersion, opset int64) *Model {
	m := &Model{IRVersion: irVersion, opsets: []Opset{{"", opset}}}
	m.Main = m.NewGraph("main")
	return m
}

// NewGraph returns an empty top-level graph of m, not yet part of it. Readers use it; passes use NewSubgraph.
func (m *Model) NewGraph(name string) *Graph {
	g := &Graph{model: m, name: name}
	ret := OpID{Domain: "ir", Type: "Return"}
	g.ret = &Node{graph: g, op: ret, kind: m.kind(ret)}
	return g
}

// Opsets are the imported operator sets in the file's order. The caller must not change them.
func (m *Model) Opsets() []Opset { return m.opsets }

// Opset is the imported version of a domain, 0 if it is not imported.
func (m *Model) Opset(domain string) int64 { return lookupOpset(m.opsets, domain) }

// SetOpset imports a version of a domain, or removes the import (version 0). An existing spelling of the domain stays.
func (m *Model) SetOpset(domain string, version int64) {
	m.opsets = setOpset(m.opsets, domain, version)
	m.touch(Structure)
}

func lookupOpset(s []Opset, domain string) int64 {
	domain = Domain(domain)
	for _, o := range s {
		if Domain(o.Domain) == domain {
			return o.Version
		}
	}
	return 0
}

func setOpset(s []Opset, domain string, version int64) []Opset {
	s = slices.Clone(s)
	i := slices.IndexFunc(s, func(o Opset) bool { return Domain(o.Domain) == Domain(domain) })
	switch {
	case version == 0 && i >= 0:
		return slices.Delete(s, i, i+1)
	case version == 0:
		return s
	case i >= 0:
		s[i].Version = version
		return s
	}
	return append(s, Opset{domain, version})
}

// Graphs lists every graph, enclosing ones before those inside them: the main graph, functions, training graphs.
func (m *Model) Graphs() []*Graph {
	var roots []*Graph
	if m.Main != nil {
		roots = append(roots, m.Main)
	}
	for _, f := range m.Functions {
		roots = append(roots, f.Graph)
	}
	for _, t := range m.Training {
		for _, g := range []*Graph{t.Initialization, t.Algorithm} {
			if g != nil {
				roots = append(roots, g)
			}
		}
	}
	if l := &m.graphs; l.list != nil && l.at == m.epochs[Structure] && slices.Equal(l.roots, roots) {
		return slices.Clone(l.list)
	}
	var r []*Graph
	var walk func(g *Graph)
	walk = func(g *Graph) {
		r = append(r, g)
		for _, n := range g.nodes {
			if !n.dead && len(n.attrs) > 0 {
				for _, s := range n.Subgraphs() {
					walk(s)
				}
			}
		}
	}
	for _, g := range roots {
		walk(g)
	}
	m.graphs = graphList{r, m.epochs[Structure], roots}
	return slices.Clone(r)
}

// Nodes yields the nodes of every graph of Graphs, each graph in its derived order. It is a snapshot: nodes erased meanwhile
// are left out, nodes made meanwhile do not appear.
func (m *Model) Nodes() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for _, g := range m.Graphs() {
			for n := range g.Nodes() {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Function finds a model-local function, nil if there is none; of several of one name the first.
func (m *Model) Function(op OpID) *Function {
	if len(m.Functions) == 0 {
		return nil
	}
	if x := &m.index; x.byID == nil || x.n != len(m.Functions) || x.first != unsafe.SliceData(m.Functions) {
		x.n, x.first, x.byID = len(m.Functions), unsafe.SliceData(m.Functions), map[OpID]*Function{}
		for _, f := range slices.Backward(m.Functions) {
			x.byID[f.ID()] = f
		}
	}
	return m.index.byID[op]
}

// functionIndex is the map behind Model.Function and the list it was made of.
type functionIndex struct {
	byID  map[OpID]*Function
	n     int
	first **Function
}

// Function is a model-local function. Its body sees its own inputs and opsets only.
type Function struct {
	Domain, Name, Overload string
	Attrs                  []string // attributes without a default
	Defaults               []*Attr  // attributes with a default
	Graph                  *Graph
	Meta                   *Meta
	Extra                  Extra
	opsets                 []Opset
}

// NewFunction makes a function with an empty body and adds it to m.
func (m *Model) NewFunction(op OpID, opsets ...Opset) *Function {
	f := &Function{Domain: op.Domain, Name: op.Type, Overload: op.Overload, opsets: opsets}
	f.Graph = m.NewGraph(op.Type)
	f.Graph.fn = f
	m.Functions = append(m.Functions, f)
	m.touch(Structure)
	return f
}

// RemoveFunction takes f away. It panics if f is not a function of m; who calls it is not asked.
func (m *Model) RemoveFunction(f *Function) {
	i := slices.Index(m.Functions, f)
	if i < 0 {
		panic("ir: RemoveFunction of a function that the model does not have")
	}
	m.Functions = slices.Delete(slices.Clone(m.Functions), i, i+1)
	m.touch(Structure)
}

// ID is the operator that calls f.
func (f *Function) ID() OpID { return OpID{Domain(f.Domain), f.Name, f.Overload} }

// Opsets are the operator sets the body uses, in the file's order.
func (f *Function) Opsets() []Opset { return f.opsets }

// SetOpset is like Model.SetOpset for the body.
func (f *Function) SetOpset(domain string, version int64) {
	f.opsets = setOpset(f.opsets, domain, version)
	f.Graph.touch(Structure)
}

// Facet is an aspect of a model whose changes are counted.
type Facet uint8

// The facets. Structure: nodes, operands, attributes, slots, opsets. Types: what is recorded of values. Consts: constants made
// or erased. Metadata: names, documentation, properties.
const (
	Structure Facet = iota
	Types
	Consts
	Metadata
	numFacets
)

// Epoch counts the changes of a facet anywhere in m.
func (m *Model) Epoch(f Facet) uint64 { return m.epochs[f] }

func (m *Model) touch(f Facet) { m.epochs[f]++ }

// Shuffle is the check mode in which Nodes yields independent nodes in an order derived from seed instead of their source
// position; 0 turns it off. No result may depend on it.
func (m *Model) Shuffle(seed uint64) {
	m.shuffle = seed
	for _, g := range m.Graphs() {
		g.order = nil
	}
}

// Listener is told of edits while it is attached. Any field may be nil.
type Listener struct {
	Made    func(n *Node)                    // after n was added with its operands
	Erased  func(n *Node)                    // before n's operands are dropped
	Operand func(n *Node, i int, old *Value) // after operand i of n became another value
	Const   func(v *Value)                   // after a constant was added
	Unconst func(v *Value)                   // after an initializer was erased
	Attr    func(n *Node)                    // after an attribute or the operator of n changed
}

// Listen attaches l until the returned function is called.
func (m *Model) Listen(l *Listener) (stop func()) {
	m.listeners = append(m.listeners, l)
	return func() {
		m.listeners = slices.DeleteFunc(m.listeners, func(x *Listener) bool { return x == l })
	}
}

// String names the model for messages.
func (m *Model) String() string {
	name := ""
	if m.Main != nil {
		name = m.Main.name
	}
	return fmt.Sprintf("model %q", name)
}
