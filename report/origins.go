package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
)

// OriginMap says what the nodes and tensors of a model stand for. Its JSON form is stable.
type OriginMap struct {
	Nodes   []NodeOrigin   `json:"nodes"`
	Tensors []TensorOrigin `json:"tensors"`
}

// The parts of an OriginMap.
type (
	// NodeOrigin is a node of the result, in the order in which the result has them.
	NodeOrigin struct {
		Graph   string   `json:"graph"` // path of the graph
		Name    string   `json:"name"`
		Op      string   `json:"op"`
		Outputs []string `json:"outputs"` // names of the results; "" for one that is left out
		Sources []Source `json:"sources"`
		Rules   []string `json:"rules"` // pass/rule, the earliest first; none for a node that no pass touched
	}
	// TensorOrigin is an initializer that a pass made.
	TensorOrigin struct {
		Graph   string   `json:"graph"`
		Name    string   `json:"name"`
		Sources []Source `json:"sources"`
		Rules   []string `json:"rules"`
	}
	// Source is a node of the file that was read.
	Source struct {
		Graph string `json:"graph"` // "" is the main graph, "f:NAME" a function, "/node/attribute" leads inwards
		Pos   int    `json:"pos"`   // among the graph's nodes
		Name  string `json:"name"`
		Op    string `json:"op"`
	}
)

// OriginsOf lists where the nodes of m, and the initializers made by passes, come from. Names are those that m is written with.
func OriginsOf(m *ir.Model) *OriginMap {
	names, _ := naming.Assign(m) // an interface that cannot be written is the writer's error
	r := &OriginMap{Nodes: []NodeOrigin{}, Tensors: []TensorOrigin{}}
	for _, g := range m.Graphs() {
		for n := range g.Nodes() {
			o := NodeOrigin{Graph: g.Path(), Name: n.Name(), Op: n.Op().String(), Outputs: []string{}}
			for _, v := range n.Results() {
				o.Outputs = append(o.Outputs, names.Value(v))
			}
			o.Sources, o.Rules = sources(n.Origin()), rules(n.Origin())
			r.Nodes = append(r.Nodes, o)
		}
		for _, v := range g.Consts() {
			if v.Origin() != nil {
				r.Tensors = append(r.Tensors, TensorOrigin{g.Path(), names.Value(v), sources(v.Origin()), rules(v.Origin())})
			}
		}
	}
	return r
}

// Origins is OriginsOf as JSON.
func Origins(m *ir.Model) ([]byte, error) {
	b, err := json.MarshalIndent(OriginsOf(m), "", " ")
	return append(b, '\n'), err
}

func sources(o *ir.Origin) []Source {
	r := []Source{}
	for _, s := range o.Sources() {
		r = append(r, Source{s.Graph, s.Pos, s.Name, s.Op.String()})
	}
	return r
}

func rules(o *ir.Origin) []string { return append([]string{}, o.Rules()...) }

// The metadata that KeepOrigin writes.
const (
	originSources = "onnxopt.sources" // "graph:pos:name:op", separated by blanks
	originRules   = "onnxopt.rules"   // "pass/rule", separated by blanks
)

// KeepOrigin puts origins into the metadata of the nodes and initializers that passes made.
func KeepOrigin(m *ir.Model) {
	for _, g := range m.Graphs() {
		for n := range g.Nodes() {
			if o := n.Origin(); len(o.Rules()) > 0 {
				n.SetMeta(withOrigin(n.Meta(), o))
			}
		}
		for _, v := range g.Consts() {
			if o := v.Origin(); len(o.Rules()) > 0 {
				v.Meta = withOrigin(v.Meta, o)
			}
		}
	}
}

func withOrigin(m *ir.Meta, o *ir.Origin) *ir.Meta {
	var s []string
	for _, x := range o.Sources() {
		s = append(s, fmt.Sprintf("%s:%d:%s:%s", x.Graph, x.Pos, x.Name, x.Op))
	}
	return m.With(originSources, strings.Join(s, " ")).With(originRules, strings.Join(o.Rules(), " "))
}
