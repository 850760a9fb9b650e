// Package diff says how two models differ. Nodes are paired by what they compute, so that names play no part: a model that was exported
// again, optimized or renamed is compared with what it was.
package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/report"
)

// Result is how b differs from a. Its JSON form is stable: names are not changed, only added.
type Result struct {
	// Same reports that both compute the same by structure and weights, whatever the names inside.
	Same bool `json:"same"`
	// Interface lists differences of inputs and outputs, Model those of versions, opsets and metadata.
	Interface []string `json:"interface"`
	Model     []string `json:"model"`

	Paired  int          `json:"paired_nodes"`
	Renamed int          `json:"renamed_nodes"` // pairs with different names, which is no difference
	Added   []Node       `json:"added_nodes"`
	Removed []Node       `json:"removed_nodes"`
	Changed []NodeChange `json:"changed_nodes"`

	SameWeights int            `json:"same_weights"` // tensors at the same operand that are equal
	Weights     []WeightChange `json:"changed_weights"`

	Before    *report.Summary `json:"before"`
	After     *report.Summary `json:"after"`
	Operators []OpChange      `json:"operators"`
	pairs     map[*ir.Node]*ir.Node
	changed   []Pair
}

// The parts of a Result.
type (
	// Node is a node of one of the models.
	Node struct {
		Graph string `json:"graph"`
		Name  string `json:"name"`
		Op    string `json:"op"`
	}
	// NodeChange is a pair of nodes that differ. What says how, a clause each.
	NodeChange struct {
		A    Node     `json:"a"`
		B    Node     `json:"b"`
		What []string `json:"what"`
	}
	// WeightChange is a constant of which b has another. Differences are those of package compare; they are left out where the types or
	// shapes differ.
	WeightChange struct {
		Name  string   `json:"name"`
		Node  Node     `json:"node"` // the first that uses it
		A     string   `json:"a"`    // type and shape
		B     string   `json:"b"`
		Rel   *float64 `json:"relative,omitempty"` // max|a-b| / max(max|a|, 1e-6)
		Abs   *float64 `json:"absolute,omitempty"` // max|a-b|
		Equal *float64 `json:"cosine,omitempty"`
		Note  string   `json:"note,omitempty"`
	}
	// OpChange is an operator of which b has another number.
	OpChange struct {
		Op string `json:"op"`
		A  int    `json:"a"`
		B  int    `json:"b"`
	}
)

// Models compares two models. Weights are read once; one that cannot be read is an error. Callers wrap it in onnxio.Guard.
func Models(a, b *ir.Model, o report.Options) (*Result, error) {
	before, err := report.Summarize(a, o)
	if err != nil {
		return nil, err
	}
	after, err := report.Summarize(b, o)
	if err != nil {
		return nil, err
	}
	m, err := match(a, b)
	if err != nil {
		return nil, err
	}
	r := &Result{Before: before, After: after, Interface: []string{}, Model: []string{}, Added: []Node{}, Removed: []Node{},
		Changed: []NodeChange{}, Weights: []WeightChange{}, Operators: []OpChange{}, pairs: m.toB}
	r.ports("input", a.Main.Inputs(), b.Main.Inputs())
	r.ports("output", a.Main.Outputs(), b.Main.Outputs())
	r.model(a, b)
	w := &walk{m: m, r: r, seen: map[[2]*ir.Tensor]bool{}}
	if err := w.nodes(); err != nil {
		return nil, err
	}
	for _, op := range report.Operators(before, after) {
		if x, y := before.Operators[op], after.Operators[op]; x != y {
			r.Operators = append(r.Operators, OpChange{op, x, y})
		}
	}
	r.Same = len(r.Interface)+len(r.Model)+len(r.Added)+len(r.Removed)+len(r.Changed)+len(r.Weights) == 0
	return r, nil
}

// Of is the node of b that stands for n, a node of a; nil if there is none.
func (r *Result) Of(n *ir.Node) *ir.Node { return r.pairs[n] }

func (r *Result) ports(what string, a, b []*ir.Slot) {
	at := func(s []*ir.Slot, name string) int {
		return slices.IndexFunc(s, func(x *ir.Slot) bool { return x.Name() == name })
	}
	say := func(format string, args ...any) {
		r.Interface = append(r.Interface, what+" "+fmt.Sprintf(format, args...))
	}
	for i, s := range a {
		k := at(b, s.Name())
		switch {
		case k < 0:
			say("%s was removed: %s", s.Name(), s.Type())
		case !s.Type().Equal(b[k].Type()):
			say("%s: %s became %s", s.Name(), s.Type(), b[k].Type())
		case i != k && len(a) == len(b):
			say("%s moved from place %d to %d", s.Name(), i, k)
		}
	}
	for _, s := range b {
		if at(a, s.Name()) < 0 {
			say("%s was added: %s", s.Name(), s.Type())
		}
	}
}

// model compares what is said of the whole.
func (r *Result) model(a, b *ir.Model) {
	change := func(what string, x, y any) {
		if x != y {
			r.Model = append(r.Model, fmt.Sprintf("%s: %v became %v", what, x, y))
		}
	}
	change("IR version", a.IRVersion, b.IRVersion)
	seen := map[string]bool{}
	for _, o := range append(slices.Clone(a.Opsets()), b.Opsets()...) {
		d := ir.Domain(o.Domain)
		if seen[d] {
			continue
		}
		seen[d] = true
		name := "opset"
		if d != "" {
			name = "opset of " + d
		}
		change(name, version(a.Opset(d)), version(b.Opset(d)))
	}
	change("producer", quoted(a.ProducerName, a.ProducerVersion), quoted(b.ProducerName, b.ProducerVersion))
	change("domain", quoted(a.DomainName), quoted(b.DomainName))
	change("model version", a.Version, b.Version)
	props := func(m *ir.Model) (p map[string]string, keys []string) {
		p = map[string]string{}
		if m.Meta != nil {
			for _, x := range m.Meta.Props {
				p[x.Key] = x.Value
				keys = append(keys, x.Key)
			}
		}
		return p, keys
	}
	pa, ka := props(a)
	pb, kb := props(b)
	keys := append(ka, kb...)
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		x, inA := pa[k]
		y, inB := pb[k]
		switch {
		case !inA:
			r.Model = append(r.Model, fmt.Sprintf("metadata %q was added", k))
		case !inB:
			r.Model = append(r.Model, fmt.Sprintf("metadata %q was removed", k))
		case x != y:
			r.Model = append(r.Model, fmt.Sprintf("metadata %q changed", k))
		}
	}
	for _, f := range a.Functions {
		if b.Function(f.ID()) == nil {
			r.Model = append(r.Model, fmt.Sprintf("function %s was removed", f.ID()))
		}
	}
	for _, f := range b.Functions {
		if a.Function(f.ID()) == nil {
			r.Model = append(r.Model, fmt.Sprintf("function %s was added", f.ID()))
		}
	}
}

func version(n int64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func quoted(parts ...string) string {
	return fmt.Sprintf("%q", strings.TrimSpace(strings.Join(parts, " ")))
}

func nodeOf(n *ir.Node) Node { return Node{n.Graph().Path(), nameOf(n), n.Op().String()} }

func (n Node) String() string {
	if n.Name == "" {
		return n.Op
	}
	return fmt.Sprintf("%s %q", n.Op, n.Name)
}

// Pair is a pair of nodes that differ, and how.
type Pair struct {
	A, B *ir.Node
	What []string
}

// Nodes are the pairs of Changed as nodes, those of the main graphs.
func (r *Result) Nodes() []Pair { return r.changed }

// List is a titled list of differences.
type List struct {
	Title string
	Lines []string
}

// Lists are the differences as text, without those that are empty.
func (r *Result) Lists() (l []List) {
	for _, s := range r.sections() {
		if len(s.lines) > 0 {
			l = append(l, List{s.title, s.lines})
		}
	}
	return l
}
