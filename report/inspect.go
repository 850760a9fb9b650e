package report

import (
	"fmt"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/ir"
)

// Inspection is a summary and everything else that there is to say about a model. Its JSON form is stable.
type Inspection struct {
	IRVersion int64          `json:"ir_version"`
	Producer  string         `json:"producer,omitempty"`
	Domain    string         `json:"domain,omitempty"`
	Version   int64          `json:"model_version,omitempty"`
	Doc       string         `json:"doc,omitempty"`
	Metadata  []Property     `json:"metadata,omitempty"`
	Opsets    []Opset        `json:"opsets"`
	Graph     string         `json:"graph"`
	Inputs    []Port         `json:"inputs"`
	Outputs   []Port         `json:"outputs"`
	Functions []FunctionInfo `json:"functions"`
	Training  int            `json:"training_graphs,omitempty"`

	Summary

	Zeros    int64   `json:"zero_parameters"`
	Sparsity float64 `json:"sparsity"` // zeros over the elements of all numeric constants

	DTypes   []TypeShare `json:"parameters_by_type"`
	External []DataFile  `json:"external_data"`
}

// The parts of an Inspection.
type (
	// Property is an entry of metadata_props.
	Property struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	// Opset is an imported operator set; the default domain is "".
	Opset struct {
		Domain  string `json:"domain"`
		Version int64  `json:"version"`
	}
	// Port is an input or output.
	Port struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		Default bool   `json:"default,omitempty"` // an input that callers may leave out
	}
	// FunctionInfo is a model-local function.
	FunctionInfo struct {
		Name  string `json:"name"`
		Nodes int    `json:"nodes"`
	}
	// TypeShare says how much of the weights has an element type.
	TypeShare struct {
		Type       string `json:"type"`
		Parameters int64  `json:"parameters"`
		Bytes      int64  `json:"bytes"`
	}
	// DataFile is a file of external data.
	DataFile struct {
		Location string `json:"location"`
		Tensors  int    `json:"tensors"`
		Bytes    int64  `json:"bytes"`
	}
)

// Inspect describes m. It reads every weight once to count zeros; one that cannot be read is an error.
func Inspect(m *ir.Model, o Options) (*Inspection, error) {
	sized, a, err := o.resolve(m)
	if err != nil {
		return nil, err
	}
	r := &Inspection{
		IRVersion: m.IRVersion, Producer: producer(m), Domain: m.DomainName, Version: m.Version, Doc: m.Meta.DocString(),
		Graph: m.Main.Name(), Inputs: ports(m.Main.Inputs()), Outputs: ports(m.Main.Outputs()), Training: len(m.Training),
		Opsets: []Opset{}, Functions: []FunctionInfo{}, Summary: *summarize(sized, a),
	}
	if m.Meta != nil {
		for _, p := range m.Meta.Props {
			r.Metadata = append(r.Metadata, Property{p.Key, p.Value})
		}
	}
	for _, o := range m.Opsets() {
		r.Opsets = append(r.Opsets, Opset{ir.Domain(o.Domain), o.Version})
	}
	for _, f := range m.Functions {
		r.Functions = append(r.Functions, FunctionInfo{f.ID().String(), f.Graph.NumNodes()})
	}
	c := cost.Model(m, a).Constants
	zeros, elements, err := c.Sparsity()
	if err != nil {
		return nil, err
	}
	r.Zeros = zeros
	if elements > 0 {
		r.Sparsity = float64(zeros) / float64(elements)
	}
	r.DTypes, r.External = shares(c.List())
	return r, nil
}

func producer(m *ir.Model) string {
	if m.ProducerVersion == "" {
		return m.ProducerName
	}
	return m.ProducerName + " " + m.ProducerVersion
}

func ports(slots []*ir.Slot) []Port {
	r := make([]Port, len(slots))
	for i, s := range slots {
		r[i] = Port{Name: s.Name(), Type: fmt.Sprint(s.Type())}
		if v := s.Value(); v != nil && v.IsInput() {
			r[i].Default = v.Default() != nil
		}
	}
	return r
}
