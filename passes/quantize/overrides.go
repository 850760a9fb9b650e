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
//
// for tensors of m, whose type is the given one where they do not say another.
func readOverrides(b []byte, m *ir.Model, d ir.DType) (overrides, error) {
	r := overrides{}
	y := yaml.NewDecoder(bytes.NewReader(b))
	y.KnownFields(true)
	if err := y.Decode(&r); err != nil && !errors.Is(err, io.EOF) {
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
		if err := r[name].check(d); err != nil {
			return nil, fmt.Errorf("overrides of %q: %w", name, err)
		}
		if !names[name] {
			return nil, fmt.Errorf("overrides: the model has no tensor %q%s", name, spell.Hint(name, slices.Collect(maps.Keys(names))))
		}
	}
	return r, nil
}

// check reports settings that make no sense for a tensor of type d.
func (o override) check(d ir.DType) error {
	if t, ok := overrideTypes[o.Type]; ok {
		d = t
	} else if o.Type != "" {
		return fmt.Errorf("type %q is none of u8, s8, u16, s16", o.Type)
	}
	lo, hi := limits(d)
	switch {
	case o.Scale < 0 || math.IsNaN(o.Scale) || math.IsInf(o.Scale, 0):
		return fmt.Errorf("scale %g is not positive", o.Scale)
	case o.Scale > 0 && (o.Scale < leastScale || o.Scale > math.MaxFloat32):
		return fmt.Errorf("scale %g is not between %g and %g", o.Scale, leastScale, math.MaxFloat32)
	case o.Range != nil && (len(o.Range) != 2 || !(o.Range[0] < o.Range[1]) || math.IsInf(o.Range[0], 0) || math.IsInf(o.Range[1], 0)):
		return fmt.Errorf("range %v is not [low, high]", o.Range)
	case o.Range != nil && o.Scale > 0:
		return errors.New("a range and a scale say the same; give one")
	case o.Zero != nil && o.Scale == 0:
		return errors.New("zero_point needs a scale")
	case o.Zero != nil && (*o.Zero < lo || *o.Zero > hi):
		return fmt.Errorf("zero_point %d is not between %d and %d", *o.Zero, lo, hi)
	case o.Float && (o.Type != "" || o.Scale > 0 || o.Range != nil):
		return errors.New("a tensor that stays float has no type, scale or range")
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
			g.q = qparams{dtype: d, scale: float32(o.Scale)}
			if o.Zero != nil {
				g.q.zero = *o.Zero
			}
		case o.Range != nil:
			g.q = paramsOf(hist.Range{Lo: o.Range[0], Hi: o.Range[1]}, d, p.p.Symmetric)
		case d != g.q.dtype:
			g.q = paramsOf(g.q.covers(), d, p.p.Symmetric)
		}
	}
}

// overruled warns of overrides without effect: nothing stores their tensors in integers, or the model came with a scale for them.
func (p *plan) overruled() string {
	set := map[string]bool{}
	for _, s := range p.sites {
		if !s.given {
			set[s.value.Name()] = true
		}
	}
	r := ""
	for _, name := range slices.Sorted(maps.Keys(p.over)) {
		if o := p.over[name]; !o.Float && !set[name] {
			r += fmt.Sprintf("\n  warning: overrides of %q have no effect: it is not stored in integers, or on a scale that the model came with", name)
		}
	}
	return r
}
