package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// Options say under which sizes a model is described.
type Options struct {
	// Sizes are sizes of dimensions of the inputs: of a symbol by its name, of one axis as "input[axis]". A first axis whose
	// size is not known and not given is 1.
	Sizes map[string]int64
}

// resolve is a model in which the sizes of the options are fixed, m itself if there are none to fix, and what is known of
// its values. A size for a symbol that no input has is an error.
func (o Options) resolve(m *ir.Model) (*ir.Model, analysis.Options, error) {
	known := o.all(m)
	m, err := o.fixed(m, known, 1)
	if err != nil {
		return nil, analysis.Options{}, err
	}
	return m, analysis.Options{Types: infer.Model(m).Type, Sizes: known}, nil
}

// fixed is m with these sizes, and first axes of which nothing is known of size batch; m itself if that changes nothing. A size of the
// options for a symbol that no input has is an error.
func (o Options) fixed(m *ir.Model, sizes map[string]int64, batch int64) (*ir.Model, error) {
	var symbols []string
	fixed := false
	types := make([]*ir.Type, len(m.Main.Inputs()))
	for i, s := range m.Main.Inputs() {
		for axis, d := range s.Type().TensorShape() {
			if d.Param != "" {
				symbols = append(symbols, d.Param)
			}
			if !d.IsStatic() {
				symbols = append(symbols, axisName(s, axis))
			}
		}
		types[i] = fix(s, sizes, batch)
		fixed = fixed || types[i] != s.Type()
	}
	for name := range o.Sizes {
		if !slices.Contains(symbols, name) {
			return nil, fmt.Errorf("no input has an open dimension %q%s", name, orNames(name, symbols))
		}
	}
	if fixed {
		m = m.Clone()
		for i, s := range m.Main.Inputs() {
			s.SetType(types[i])
		}
	}
	return m, nil
}

func orNames(name string, symbols []string) string {
	if hint := spell.Hint(name, symbols); hint != "" || len(symbols) == 0 {
		return hint
	}
	slices.Sort(symbols)
	return "; there are " + strings.Join(slices.Compact(symbols), ", ")
}

// all adds the symbols of first axes to the given sizes.
func (o Options) all(m *ir.Model) map[string]int64 {
	sizes := map[string]int64{}
	for _, s := range m.Main.Inputs() {
		if h := s.Type().TensorShape(); len(h) > 0 && h[0].Param != "" {
			sizes[h[0].Param] = 1
		}
	}
	for name, n := range o.Sizes {
		sizes[name] = n
	}
	return sizes
}

// axisName is how Options.Sizes names one axis.
func axisName(s *ir.Slot, axis int) string { return fmt.Sprintf("%s[%d]", s.Name(), axis) }

// fix is the type of an input with known sizes in the place of symbols, and batch (unless it is negative) for an unknown first axis. It is
// the same type if there is nothing to replace.
func fix(s *ir.Slot, sizes map[string]int64, batch int64) *ir.Type {
	t := s.Type()
	h := t.TensorShape()
	if t == nil || t.Kind != ir.KindTensor || h == nil {
		return t
	}
	shape := slices.Clone(h)
	for axis, d := range shape {
		if d.IsStatic() {
			continue
		}
		if n, ok := sizes[axisName(s, axis)]; ok {
			shape[axis] = ir.Static(n)
		} else if n, ok := sizes[d.Param]; ok && d.Param != "" {
			shape[axis] = ir.Static(n)
		} else if axis == 0 && d.Param == "" && batch >= 0 {
			shape[axis] = ir.Static(batch)
		}
	}
	if slices.Equal(shape, h) {
		return t
	}
	return ir.TensorType(t.DType(), shape)
}

// Resolve is a model in which the sizes of o are fixed, m itself if there are none to fix, and what is known of its values: what Summarize
// counts with.
func Resolve(m *ir.Model, o Options) (*ir.Model, analysis.Options, error) { return o.resolve(m) }
