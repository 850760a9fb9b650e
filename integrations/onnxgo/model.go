package onnxgo

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/graph"
	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/onnxio"
)

// Model has the methods of onnx-go's Model and reads files with onnxopt's reader: every operator set, domain and type, subgraphs and functions.
// Input and Output hold the ids of nodes; inputs that have an initializer are not among them.
type Model struct {
	Input, Output []int64

	g    *Graph
	file *onnxio.File
}

// NewModel makes a model that decodes into g.
func NewModel(g *Graph) *Model { return &Model{g: g} }

// UnmarshalBinary reads a model. It is kept as it is given: the caller must not change data. Data files are not read; see Open.
func (m *Model) UnmarshalBinary(data []byte) error {
	f, err := onnxio.Read(data, onnxio.Options{FreezeDefaults: true})
	if err != nil {
		return err
	}
	return m.take(f)
}

// Open reads a model from a file, by a memory map, with its data files. Close releases it.
func (m *Model) Open(path string) error {
	f, err := onnxio.Open(path, onnxio.Options{FreezeDefaults: true})
	if err != nil {
		return err
	}
	return m.take(f)
}

// Close releases the file. The Graph must not be run after it.
func (m *Model) Close() error {
	if m.file == nil {
		return nil
	}
	m.g.ready = nil
	return m.file.Close()
}

func (m *Model) take(f *onnxio.File) error {
	g := m.g
	if g.Nodes().Len() > 0 {
		return errors.New("onnxgo: the graph holds a model already")
	}
	node := func(name string) *Node {
		n := g.NewNode().(*Node)
		n.SetName(name)
		g.AddNode(n)
		return n
	}
	m.file, m.Input, m.Output = f, nil, nil
	for _, s := range f.Model.Main.Inputs() {
		n := node(s.Name())
		n.value.sets = 1
		m.Input = append(m.Input, n.id)
	}
	for _, s := range f.Model.Main.Outputs() {
		m.Output = append(m.Output, node(s.Name()).id)
	}
	g.source = f.Model
	return nil
}

// GetNodeByName is the node of an input or an output.
func (m *Model) GetNodeByName(name string) (graph.Node, bool) {
	for _, id := range append(append([]int64{}, m.Input...), m.Output...) {
		if n := m.g.Node(id).(*Node); n.GetName() == name {
			return n, true
		}
	}
	return nil, false
}

// SetInput gives the i-th input a tensor.
func (m *Model) SetInput(i int, t tensor.Tensor) error {
	if i < 0 || i >= len(m.Input) {
		return fmt.Errorf("onnxgo: there is no input %d, the model has %d", i, len(m.Input))
	}
	return m.g.Node(m.Input[i]).(*Node).SetTensor(t)
}

// GetInputTensors are the tensors that the inputs were given; nil for the others.
func (m *Model) GetInputTensors() []tensor.Tensor {
	r := make([]tensor.Tensor, len(m.Input))
	for i, id := range m.Input {
		r[i] = m.g.Node(id).(*Node).value.data
	}
	return r
}

// GetOutputTensors are the outputs of the last Run.
func (m *Model) GetOutputTensors() ([]tensor.Tensor, error) {
	r := make([]tensor.Tensor, len(m.Output))
	for i, id := range m.Output {
		n := m.g.Node(id).(*Node)
		if r[i] = n.value.data; r[i] == nil {
			return nil, fmt.Errorf("onnxgo: output %q has no value: Run the graph first", n.GetName())
		}
	}
	return r, nil
}
