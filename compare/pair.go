package compare

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// pair measures two tensors of one type and shape.
type pair struct {
	meter *meter
	dtype ir.DType
	shape []int64
	path  string

	maxA, maxDiff float64
	at            int64
	differ        bool
}

// finish turns what was gathered into the measure and keeps it if it is the worst so far.
func (p *pair) finish() {
	d := &p.meter.d
	if !p.differ {
		if d.DType == ir.Undefined {
			d.DType = p.dtype
		}
		return
	}
	p.meter.bits = false
	worst := false
	if p.dtype.IsInt() || p.dtype == ir.Bool {
		if worst = p.maxDiff > d.Steps; worst {
			d.Steps = p.maxDiff
		}
	} else {
		rel := p.maxDiff / max(p.maxA, 1e-6)
		worst = d.Steps == 0 && (rel > d.Rel || d.Where == "")
		d.Rel, d.Abs = max(d.Rel, rel), max(d.Abs, p.maxDiff)
	}
	if worst {
		d.DType, d.Where = p.dtype, join(p.path, fmt.Sprint(index(p.shape, p.at)))
	}
}

// ints counts steps. The difference of two 64-bit integers is exact before it is rounded to a float64.
func (p *pair) ints(x, y []byte) {
	signed := p.dtype.IsSigned()
	for i := range ir.NumElements(p.shape) {
		a, b := integer(p.dtype, x, i), integer(p.dtype, y, i)
		if a == b {
			continue
		}
		p.differ = true
		less := a < b
		if signed {
			less = int64(a) < int64(b)
		}
		diff := a - b
		if less {
			diff = b - a
		}
		if f := float64(diff); f > p.maxDiff {
			p.maxDiff, p.at = f, i
		}
	}
}

// floats walks two arrays of a real or complex floating-point type; the parts of complex numbers are compared one by one.
func (p *pair) floats(x, y []byte) {
	n := ir.NumElements(p.shape)
	parts := int64(1)
	if p.dtype == ir.Complex64 || p.dtype == ir.Complex128 {
		parts = 2
	}
	p.meter.d.Floats += n
	at := realDecoder(p.dtype)
	if at == nil {
		p.meter.unlike(p.path, "elements of type %s cannot be compared", p.dtype)
		return
	}
	for i := range n * parts {
		p.float(at(x, i), at(y, i), i/parts)
	}
}

// float measures one element.
func (p *pair) float(a, b float64, i int64) {
	m := p.meter
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		if math.IsNaN(a) {
			m.d.NaNs++
		}
		if math.IsNaN(a) != math.IsNaN(b) {
			m.unlike(p.path, "%v and %v at %v", a, b, index(p.shape, i))
		}
		return
	case math.IsInf(a, 0) || math.IsInf(b, 0):
		if a != b {
			m.unlike(p.path, "%v and %v at %v", a, b, index(p.shape, i))
		}
		return
	}
	m.aa += a * a
	m.bb += b * b
	m.ab += a * b
	if abs := math.Abs(a); abs > p.maxA {
		p.maxA = abs
	}
	if a == b {
		p.differ = p.differ || math.Signbit(a) != math.Signbit(b)
		return
	}
	p.differ = true
	diff := math.Abs(a - b)
	m.err += diff * diff
	if diff > p.maxDiff {
		p.maxDiff, p.at = diff, i
	}
}
