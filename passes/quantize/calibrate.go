package quantize

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// sources are the tensors of a group whose values count: those that no sharing operator of the group makes of others.
func (p *plan) sources(g *group) []*ir.Value {
	var r []*ir.Value
	for _, s := range g.sites {
		if s.from == nil || s.from.kind != sharing || !slices.ContainsFunc(s.from.acts, func(i int) bool {
			k := p.byVal[s.from.node.Operand(i)]
			return k != nil && k.group == g
		}) {
			r = append(r, s.value)
		}
	}
	return r
}

// gather runs the model over the data and counts the values of all groups, in the order of p.groups.
func (p *plan) gather(data *measured.Calibration) ([]*hist.Histogram, error) {
	var taps []*ir.Value
	var owner []int
	for i, g := range p.groups {
		for _, v := range p.sources(g) {
			taps = append(taps, v)
			owner = append(owner, i)
		}
	}
	var sizes []int64
	s, err := p.resume(data, taps)
	if err != nil {
		return nil, err
	}
	if s.Done == 0 && s.From == 0 && len(taps) > 0 { // in one pass over the data, if the engine hands tensors over one by one
		s.To = len(taps)
		ok, err := p.count(data, taps, owner, s, true)
		if err != nil {
			return nil, err
		}
		if ok {
			s.From = s.To
		}
	}
	for s.From < len(taps) {
		if s.Done == 0 {
			if sizes == nil {
				if sizes, err = p.sizes(data, taps); err != nil {
					return nil, err
				}
			}
			sum := int64(0)
			for s.To = s.From; s.To < len(taps) && (s.To == s.From || sum+sizes[s.To] <= tapped/int64(data.Threads())); s.To++ {
				sum += sizes[s.To]
			}
		}
		if _, err := p.count(data, taps[s.From:s.To], owner[s.From:s.To], s, false); err != nil {
			return nil, err
		}
		s.From, s.Done = s.To, 0
	}
	s.Done = 0
	return s.Hists, s.save(true)
}

// tapped bounds the bytes of tensors that the runs of a calibration hold for counting. What does not fit is counted in further rounds
// over the data.
const tapped = 48 << 20

// sizes are the bytes of the tapped tensors, which are float, with room for larger samples where a run has told them.
func (p *plan) sizes(data *measured.Calibration, taps []*ir.Value) ([]int64, error) {
	shapes, err := p.shapes(data, taps)
	if err != nil {
		return nil, err
	}
	r := make([]int64, len(taps))
	for i, s := range shapes {
		if s == nil { // the run did not make it
			continue
		}
		r[i] = 4 * ir.NumElements(s)
		if _, static := p.facts.Shape(taps[i]).Ints(); !static {
			r[i] *= 2
		}
	}
	return r, nil
}

// choose gives every group its scale by a method.
func (p *plan) choose(hists []*hist.Histogram, method string) error {
	for i, g := range p.groups {
		if given := p.givenParams(g); given != nil {
			g.q = *given
			continue
		}
		h := hists[i]
		if h.N == 0 {
			return fmt.Errorf("no sample gave a number at %s", p.place0(g))
		}
		spec := p.spec()
		spec.F = p.activationOf(g)
		how := method
		if spec.F != nil && method != "minmax" {
			how = "mse" // the only method that knows what becomes of the values
		}
		r, err := h.Find(how, spec)
		if err != nil {
			return err
		}
		g.q = p.params(h, r)
	}
	p.remember()
	return nil
}

// remember notes the parameters by tensor, for plans that quantize less.
func (p *plan) remember() {
	p.known = map[*ir.Value]qparams{}
	for _, g := range p.groups {
		p.override(g)
	}
	for _, s := range p.sites {
		p.known[s.value] = s.group.q
	}
}

// spec says how activations are quantized.
func (p *plan) spec() hist.Spec {
	lo, hi := limits(p.p.Activations)
	return hist.Spec{Levels: int(hi - lo), Symmetric: p.p.Symmetric, Percentile: p.o.Percentile}
}

// params cover r; whole numbers that have as few values as there are integers are stored as they are.
func (p *plan) params(h *hist.Histogram, r hist.Range) qparams {
	lo, hi := limits(p.p.Activations)
	if whole := (hist.Range{Lo: h.Min, Hi: h.Max}).WithZero(); h.Integers && !p.p.Symmetric && whole.Hi-whole.Lo <= float64(hi-lo) {
		return qparams{p.p.Activations, 1, lo - int64(whole.Lo)}
	}
	return paramsOf(r, p.p.Activations, p.p.Symmetric)
}

// givenParams are those of a DequantizeLinear that the model came with, nil if there is none in the group.
func (p *plan) givenParams(g *group) *qparams {
	for _, s := range g.sites {
		if !s.given {
			continue
		}
		n := s.value.Node()
		scale, ok := scalarOf(n.Operand(1).Const())
		if !ok {
			continue
		}
		q := qparams{dtype: p.facts.DType(n.Operand(0)), scale: float32(scale)}
		if z := n.Operand(2); z != nil {
			k, ok := integerOf(z.Const())
			if !ok {
				continue
			}
			q.zero = k
		}
		return &q
	}
	return nil
}

// integerOf is the only element of an integer constant.
func integerOf(t *ir.Tensor) (int64, bool) {
	if t == nil || t.Len() != 1 {
		return 0, false
	}
	b, err := t.Bytes()
	if err != nil {
		return 0, false
	}
	switch t.DType() {
	case ir.Uint8:
		return int64(b[0]), true
	case ir.Int8:
		return int64(int8(b[0])), true
	case ir.Uint16:
		return int64(b[0]) | int64(b[1])<<8, true
	case ir.Int16:
		return int64(int16(uint16(b[0]) | uint16(b[1])<<8)), true
	}
	return 0, false
}

// place0 names a group for messages.
func (p *plan) place0(g *group) string {
	v := g.root
	if v.Node() != nil {
		return v.Node().String()
	}
	return fmt.Sprintf("input %q", v.Name())
}
