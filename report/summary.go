// Package report describes models: what they hold, what they compute, what they need.
package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/liveness"
	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
)

// Summary is a model in numbers. Its JSON form is stable: names are not changed, only added.
type Summary struct {
	// Nodes counts the nodes of all graphs and functions as a file holds them; Constant nodes are weights and not counted.
	Nodes     int            `json:"nodes"`
	Operators map[string]int `json:"operators"` // the same by operator; a domain other than the default stands before the type
	Subgraphs int            `json:"subgraphs"`
	Functions int            `json:"functions"`

	Tensors    int   `json:"tensors"`    // initializers, defaults of inputs and Constant nodes
	Parameters int64 `json:"parameters"` // their elements
	Bytes      int64 `json:"parameter_bytes"`

	// MACs are multiply-accumulates, FLOPs twice that. Uncounted is the number of nodes whose products could not be counted
	// because a size is not known: where it is not zero MACs is a lower bound.
	MACs      int64 `json:"macs"`
	FLOPs     int64 `json:"flops"`
	Uncounted int64 `json:"uncounted_nodes"`

	// PeakActivation is the largest number of bytes of values other than constants alive at once, a lower bound if Unsized
	// values, those whose size is not known, are not zero. PeakAt names the node that runs then.
	PeakActivation int64  `json:"peak_activation_bytes"`
	PeakAt         string `json:"peak_activation_at,omitempty"`
	Unsized        int    `json:"unsized_values"`
}

// Summarize describes m. It reads no weights but strings. The time is linear in the model's size.
func Summarize(m *ir.Model, o Options) (*Summary, error) {
	sized, a, err := o.resolve(m)
	if err != nil {
		return nil, err
	}
	return summarize(sized, a), nil
}

func summarize(m *ir.Model, o analysis.Options) *Summary {
	s := &Summary{Operators: map[string]int{}, Functions: len(m.Functions)}
	names, _ := naming.Assign(m) // an interface that cannot be written matters to the writer
	for _, g := range m.Graphs() {
		if g.Outer() != nil {
			s.Subgraphs++
		}
		for n := range g.Nodes() {
			if n.Op() != ir.Op("Constant") {
				s.count(n.Op(), 1)
			}
		}
		s.count(ir.Op("Identity"), len(names.Identities(g)))
	}
	c := cost.Model(m, o)
	s.Tensors, s.Parameters, s.Bytes = c.Constants.Tensors, c.Constants.Parameters, c.Constants.Bytes
	s.MACs, s.FLOPs, s.Uncounted = c.MACs, c.FLOPs(), c.Unknown
	l := liveness.Graph(m.Main, o)
	s.PeakActivation, s.Unsized = l.Peak, l.Unknown
	if l.At != nil {
		s.PeakAt = l.At.String()
	}
	return s
}

func (s *Summary) count(op ir.OpID, n int) {
	if n > 0 {
		s.Nodes += n
		s.Operators[op.String()] += n
	}
}

// Operators lists the operators of both models, the most frequent first.
func Operators(a, b *Summary) []string {
	all := maps.Clone(a.Operators)
	for op, n := range b.Operators {
		all[op] = max(all[op], n)
	}
	names := slices.Collect(maps.Keys(all))
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(all[y], all[x]), cmp.Compare(x, y)) })
	return names
}
