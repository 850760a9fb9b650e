// Package targets is what all backends have in common. A target says which nodes it cannot run, names the pipeline that brings a
// model into the form it wants, and writes the artifact.
package targets

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
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
	// Slow reports what the target runs slower than it could. It is asked after the pipeline, of a model that the target takes. nil: nothing
	// is known.
	Slow func(c *passes.Context, m *ir.Model, report func(Finding)) error
	// Known is the text of known.tsv.
	Known string

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
	Name string // of the node, or of its first named result; an input has the operator "input"
	Op   ir.OpID
	Why  string
	Mend string // a pipeline that helps, "" if none is known
}

// Mendable is a reason with the pipeline that does away with it. Illegal may return one.
type Mendable struct{ Why, Mend string }

func (m *Mendable) Error() string { return m.Why + "; " + m.Mend + " mends that" }

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
	m = Annotated(m)
	for n := range m.Nodes() {
		if err := t.Illegal(n); err != nil {
			e.Nodes = append(e.Nodes, Refuse(n, err))
		}
	}
	if len(e.Nodes) == 0 {
		return nil
	}
	return e
}

// Refuse is the entry of a node that the target cannot run.
func Refuse(n *ir.Node, why error) IllegalNode {
	x := IllegalNode{Name: NodeName(n), Op: n.Op(), Why: why.Error()}
	var m *Mendable
	if errors.As(why, &m) {
		x.Mend = m.Mend
	}
	return x
}

// Annotated is a copy of m that knows the types and shapes that inference finds. It shares constants with m.
func Annotated(m *ir.Model) *ir.Model {
	m = m.Clone()
	infer.Annotate(m, infer.Model(m))
	return m
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

// NotStatic says that the shape of input s, which may be known better than the model states, is open, and which options of set-shape close
// it: 1 for a batch, SIZE for what only the user knows.
func NotStatic(s *ir.Slot, shape ir.Shape) error {
	if shape == nil {
		return errors.New("its rank is not known; set-shape states its shape")
	}
	symbols, sizes := []string{}, make([]string, len(shape))
	named := true
	for i, d := range shape {
		size := "SIZE"
		if i == 0 {
			size = "1"
		}
		switch {
		case d.IsStatic():
			sizes[i] = strconv.FormatInt(d.Size, 10)
			continue
		case !isSymbol(d.Param):
			named = false
		case !slices.ContainsFunc(symbols, func(o string) bool { return strings.HasPrefix(o, d.Param+"=") }):
			symbols = append(symbols, d.Param+"="+size)
		}
		sizes[i] = size
	}
	options := strings.Join(symbols, ",")
	if !named {
		name := s.Name()
		if !isSymbol(name) {
			name = strconv.Quote(name)
		}
		options = fmt.Sprintf("%s=[%s]", name, strings.Join(sizes, ","))
	}
	return fmt.Errorf("its shape %v is not static; set-shape{%s} states it", shape, options)
}

// isSymbol reports whether a name can stand in a pipeline as it is.
func isSymbol(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// Open is an *IllegalError of the inputs that have open sizes: from their axis from on, those before may be open.
func Open(target string, m *ir.Model, from int) error {
	e := &IllegalError{Target: target}
	for _, s := range m.Main.Inputs() {
		t := s.Type()
		if s.Value().IsInitializer() || !t.IsTensor() {
			continue
		}
		open := t.Shape == nil
		for i, d := range t.Shape {
			open = open || i >= from && !d.IsStatic()
		}
		if open {
			e.Nodes = append(e.Nodes, IllegalNode{Name: s.Name(), Op: ir.Op("input"), Why: NotStatic(s, t.Shape).Error(), Mend: "set-shape"})
		}
	}
	if len(e.Nodes) == 0 {
		return nil
	}
	return e
}
