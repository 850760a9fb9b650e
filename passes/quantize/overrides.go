package quantize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// override is the settings of one tensor.
type override struct {
	Type  string    `yaml:"type"`       // u8, s8, u16, s16
	Scale float64   `yaml:"scale"`      // with zero_point
	Zero  *int64    `yaml:"zero_point"` // default: that of the middle for signed types, 0 for others
	Range []float64 `yaml:"range"`      // [low, high]
	Float bool      `yaml:"float"`      // the tensor is not quantized
}

// overrides are the settings of single tensors, by name.
type overrides map[string]override

var overrideTypes = map[string]ir.DType{"u8": ir.Uint8, "s8": ir.Int8, "u16": ir.Uint16, "s16": ir.Int16}

// readOverrides reads
//
//	TENSOR: {type: s8, range: [-1, 1]}
//	OTHER: {scale: 0.02, zero_point: 128}
//	THIRD: {float: true}
func readOverrides(b []byte, m *ir.Model) (overrides, error) {
	r := overrides{}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("overrides: %w", err)
	}
	names := map[string]bool{}
	for _, s := range m.Main.Inputs() {
		names[s.Name()] = true
	}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				names[v.Name()] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if err := r[name].check(); err != nil {
			return nil, fmt.Errorf("overrides of %q: %w", name, err)
		}
		if !names[name] {
			return nil, fmt.Errorf("overrides: the model has no tensor %q%s", name, spell.Hint(name, slices.Collect(maps.Keys(names))))
		}
	}
	return r, nil
}

func (o override) check() error {
	if _, ok := overrideTypes[o.Type]; o.Type != "" && !ok {
		return fmt.Errorf("type %q is none of u8, s8, u16, s16", o.Type)
	}
	switch {
	case o.Scale < 0 || math.IsNaN(o.Scale) || math.IsInf(o.Scale, 0):
		return fmt.Errorf("scale %g is not positive", o.Scale)
	case o.Range != nil && (len(o.Range) != 2 || !(o.Range[0] < o.Range[1]) || math.IsInf(o.Range[0], 0) || math.IsInf(o.Range[1], 0)):
		return fmt.Errorf("range %v is not [low, high]", o.Range)
	case o.Range != nil && o.Scale > 0:
		return errors.New("a range and a scale say the same; give one")
	case o.Zero != nil && o.Scale == 0:
		return errors.New("zero_point needs a scale")
	}
	return nil
}

// exempt lists the operators around tensors that are to stay float.
func (o overrides) exempt(m *ir.Model) map[*ir.Node]string {
	r := map[*ir.Node]string{}
	note := func(v *ir.Value) {
		if v == nil || !o[v.Name()].Float {
			return
		}
		why := fmt.Sprintf("overrides keep %q in float", v.Name())
		if v.Node() != nil {
			r[v.Node()] = why
		}
		for u := range v.Uses() {
			if !u.Node.IsReturn() {
				r[u.Node] = why
			}
		}
	}
	for _, s := range m.Main.Inputs() {
		note(s.Value())
	}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			note(v)
		}
	}
	return r
}

// override puts the settings of the group's tensors over what was measured.
func (p *plan) override(g *group) {
	for _, s := range g.sites {
		o, ok := p.over[s.value.Name()]
		if !ok || s.given {
			continue
		}
		d := g.q.dtype
		if o.Type != "" {
			d = overrideTypes[o.Type]
		}
		switch {
		case o.Scale > 0:
			lo, hi := limits(d)
			g.q = qparams{dtype: d, scale: float32(o.Scale)}
			if o.Zero != nil {
				g.q.zero = min(max(*o.Zero, lo), hi)
			}
		case o.Range != nil:
			g.q = paramsOf(hist.Range{Lo: o.Range[0], Hi: o.Range[1]}, d, p.p.Symmetric)
		case d != g.q.dtype:
			g.q = paramsOf(g.q.covers(), d, p.p.Symmetric)
		}
	}
}
