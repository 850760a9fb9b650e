// Package compare says whether two models compute the same. It holds the project's one definition of "the same": promises
// of passes, fixtures, the verify verb and acceptance checks use it.
package compare

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Diff is how far b lies from a. Differences of floats are measured over the elements that are finite in both; NaN and
// infinities have to stand at the same places, with the same signs.
type Diff struct {
	// Rel is max|a−b| / max(max|a|, 1e-6), the project's measure; of a sequence or map, that of its worst item.
	Rel float64
	// Abs is max|a−b| of the floats, in their own unit.
	Abs float64
	// Steps is max|a−b| of the integers and bools.
	Steps float64
	// SQNR is the ratio of signal to error, 10·log10(Σa²/Σ(a−b)²), in dB; +Inf without error.
	SQNR float64
	// Cosine is Σab / √(Σa²·Σb²); 1 if both are zero or there is nothing to compare.
	Cosine float64
	// Unlike says what no number expresses: other types or shapes, NaN or infinities at other places, other strings. Empty
	// if there is nothing of the kind.
	Unlike string
	// DType and Where tell the tensor of the largest difference and the place in it; integers that differ come first.
	DType ir.DType
	Where string
	// Bits reports that every element has the same bits; NaNs are equal to each other whatever their bits, for operators do
	// not say which they make.
	Bits bool
	// Elements counts the elements compared, Floats those of a floating-point or complex type, NaNs those of them that are
	// NaN in a.
	Elements, Floats, NaNs int64
}

// Same reports whether a and b agree in every bit.
func (d Diff) Same() bool { return d.Unlike == "" && d.Bits }

// String is the difference in one line.
func (d Diff) String() string {
	switch {
	case d.Unlike != "":
		return d.Unlike
	case d.Same():
		return "the same bits"
	case d.Steps > 0:
		return fmt.Sprintf("%s off by %g at %s", d.DType, d.Steps, d.Where)
	}
	return fmt.Sprintf("relative difference %.3g (absolute %.3g) at %s", d.Rel, d.Abs, d.Where)
}

// Datum compares two values. A missing value (nil) equals only another one.
func Datum(a, b ir.Datum) Diff {
	m := meter{bits: true}
	m.datum(a, b, "")
	return m.diff()
}

// meter gathers a difference over all tensors of a value.
type meter struct {
	d               Diff
	bits            bool
	aa, bb, ab, err float64 // sums of products
}

func (m *meter) diff() Diff {
	d := m.d
	d.Bits = m.bits && d.Unlike == ""
	d.SQNR, d.Cosine = math.Inf(1), 1
	if m.err > 0 {
		d.SQNR = 10 * math.Log10(m.aa/m.err)
	}
	if n := math.Sqrt(m.aa) * math.Sqrt(m.bb); n > 0 {
		d.Cosine = m.ab / n
	} else if m.aa != m.bb {
		d.Cosine = 0
	}
	return d
}

// unlike notes the first disagreement that no number expresses.
func (m *meter) unlike(path, format string, args ...any) {
	if m.d.Unlike == "" {
		m.d.Unlike = fmt.Sprintf(format, args...)
		if path != "" {
			m.d.Unlike = path + ": " + m.d.Unlike
		}
	}
}

func (m *meter) datum(a, b ir.Datum, path string) {
	switch x := a.(type) {
	case *ir.Tensor:
		if y, ok := b.(*ir.Tensor); ok && (x == nil) == (y == nil) {
			if x != nil {
				m.tensor(x, y, path)
			}
			return
		}
	case *ir.Sequence:
		if y, ok := b.(*ir.Sequence); ok {
			m.items(x.Items, y.Items, path, "item")
			return
		}
	case *ir.Optional:
		if y, ok := b.(*ir.Optional); ok {
			if x.Item != nil || y.Item != nil {
				m.datum(x.Item, y.Item, join(path, "content"))
			}
			return
		}
	case *ir.Map:
		if y, ok := b.(*ir.Map); ok {
			m.datum(x.Keys, y.Keys, join(path, "keys"))
			m.items(x.Values, y.Values, path, "value")
			return
		}
	case nil:
		if b == nil {
			return
		}
	}
	m.unlike(path, "%s and %s", kindOf(a), kindOf(b))
}

func (m *meter) items(a, b []ir.Datum, path, what string) {
	if len(a) != len(b) {
		m.unlike(path, "%d and %d %ss", len(a), len(b), what)
		return
	}
	for i := range a {
		m.datum(a[i], b[i], join(path, fmt.Sprintf("%s %d", what, i)))
	}
}

func join(path, part string) string {
	if path == "" {
		return part
	}
	return path + ", " + part
}

func kindOf(d ir.Datum) string {
	switch x := d.(type) {
	case *ir.Tensor:
		if x != nil {
			return x.Type().String()
		}
	case *ir.Sequence:
		return "a sequence"
	case *ir.Optional:
		return "an optional"
	case *ir.Map:
		return "a map"
	}
	return "nothing"
}

func (m *meter) tensor(a, b *ir.Tensor, path string) {
	if a.DType() != b.DType() || !slices.Equal(a.Shape(), b.Shape()) {
		m.unlike(path, "%s and %s", a.Type(), b.Type())
		return
	}
	m.d.Elements += a.Len()
	if a.DType() == ir.String {
		m.strings(a, b, path)
		return
	}
	x, err := a.Bytes()
	if err != nil {
		m.unlike(path, "%v", err)
		return
	}
	y, err := b.Bytes()
	if err != nil {
		m.unlike(path, "%v", err)
		return
	}
	p := pair{meter: m, dtype: a.DType(), shape: a.Shape(), path: path}
	if p.dtype.IsInt() || p.dtype == ir.Bool {
		if !bytes.Equal(x, y) { // equal integers need no walk
			p.ints(x, y)
		}
	} else {
		p.floats(x, y)
	}
	p.finish()
}

func (m *meter) strings(a, b *ir.Tensor, path string) {
	x, err := a.Strings()
	if err != nil {
		m.unlike(path, "%v", err)
		return
	}
	y, err := b.Strings()
	if err != nil {
		m.unlike(path, "%v", err)
		return
	}
	for i := range x {
		if x[i] != y[i] {
			m.unlike(path, "%.40q and %.40q at %v", x[i], y[i], index(a.Shape(), int64(i)))
			return
		}
	}
}

// index is the place of element i of a tensor in row-major order.
func index(shape []int64, i int64) []int64 {
	r := make([]int64, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		r[k], i = i%shape[k], i/shape[k]
	}
	return r
}
