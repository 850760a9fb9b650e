// Package targets is what all backends have in common. A target says which nodes it cannot run, names the pipeline that brings a
// model into the form it wants, and writes the artifact.
package targets

import (
	"fmt"
	"io"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Target describes a backend. Define makes it; it never changes.
type Target struct {
	Name string // as --target takes it
	Doc  string // one sentence without a capital
	Long string // paragraphs for the manual, optional
	// Extension of the file that is written, with the dot.
	Extension string
	// Pipeline brings a model into the form that Lower takes, as pipeline text.
	Pipeline string
	// Illegal says why the target cannot run n; nil: it can. It is asked after the pipeline, with types inferred.
	Illegal func(n *ir.Node) error

	pass func(a Artifact) *passes.Pass
}

// Artifact takes what a target writes. The command keeps nothing of an artifact that was not finished.
type Artifact interface {
	// File begins a file: the one that the user named for the empty suffix, else one beside it, whose name is that of the first
	// without its extension, and the suffix.
	File(suffix string) (io.Writer, error)
	// Name is the name that the file with that suffix gets, without its folder.
	Name(suffix string) string
	// Model writes m as the ONNX model that the user named, with its external data where it has such.
	Model(m *ir.Model) error
	// Note tells the user something about the artifact.
	Note(text string)
}

// Define makes a target with options, an options struct as passes.Define takes it. Lower writes the artifact of a model all nodes
// of which are legal, and does not change it.
func Define[O any](t Target, defaults O, lower func(c *passes.Context, m *ir.Model, a Artifact, o O) error) *Target {
	t.pass = func(a Artifact) *passes.Pass {
		return passes.Define(passes.Info{Name: t.Name, Doc: t.Doc}, defaults, func(c *passes.Context, m *ir.Model, o O) error { return lower(c, m, a, o) })
	}
	return &t
}

// Options describes the options of the target.
func (t *Target) Options() []passes.OptionDoc { return t.pass(nil).Options() }

// Emitter is the pipeline of the one step that writes the artifact. Text is the target with its options: "tflite{float16=true}".
func (t *Target) Emitter(text string, a Artifact) (*passes.Pipeline, error) {
	r, err := passes.NewRegistry(t.pass(a))
	if err != nil {
		return nil, err
	}
	return r.Parse(text)
}

// IllegalError lists the nodes that a target cannot run.
type IllegalError struct {
	Target string
	Nodes  []IllegalNode
}

// IllegalNode is one of them.
type IllegalNode struct {
	Name string // of the node, or of its first named result
	Op   ir.OpID
	Why  string
}

func (e *IllegalError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot run %d node", e.Target, len(e.Nodes))
	if len(e.Nodes) != 1 {
		b.WriteByte('s')
	}
	for i, n := range e.Nodes {
		if i > 0 {
			b.WriteByte(';')
		} else {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, " %q (%s): %s", n.Name, n.Op, n.Why)
	}
	return b.String()
}

// Check is an *IllegalError if the target cannot run a node of m.
func (t *Target) Check(m *ir.Model) error {
	e := &IllegalError{Target: t.Name}
	for n := range m.Nodes() {
		if err := t.Illegal(n); err != nil {
			e.Nodes = append(e.Nodes, IllegalNode{NodeName(n), n.Op(), err.Error()})
		}
	}
	if len(e.Nodes) == 0 {
		return nil
	}
	return e
}

// NodeName is the node's name or that of its first named result.
func NodeName(n *ir.Node) string {
	if n.Name() != "" {
		return n.Name()
	}
	for _, v := range n.Results() {
		if v != nil && v.Name() != "" {
			return v.Name()
		}
	}
	return ""
}
