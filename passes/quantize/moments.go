package quantize

import (
	"math/rand/v2"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// layer is the products of a unit as rows of weights times patches of the input: a channel of a group of a convolution is a row of
// length k, and so is a column of a MatMul.
type layer struct {
	u      *unit
	groups int
	rows   int       // output channels in all
	k      int       // elements of a row
	w      []float32 // [rows, k]
}

// layerOf views the weights of u by rows; ok is false for operators whose patches are not known.
func layerOf(u *unit) (l layer, ok bool, err error) {
	t := u.node.Operand(u.weight).Const()
	if t == nil {
		return l, false, nil
	}
	v, err := ir.Elements[float32](t)
	if err != nil {
		return l, false, err
	}
	s := t.Shape()
	switch {
	case u.node.Is("Conv") && (len(s) == 3 || len(s) == 4):
		g := int(u.node.Int("group", 1))
		l = layer{u: u, groups: g, rows: int(s[0]), k: len(v) / int(s[0]), w: v}
		return l, g > 0 && l.rows%g == 0, nil
	case u.node.Is("MatMul", "Gemm") && len(s) == 2:
		if u.axis == 0 {
			return layer{u, 1, int(s[0]), int(s[1]), v}, true, nil
		}
		k, n := int(s[0]), int(s[1])
		w := make([]float32, len(v))
		for i := range k {
			for j := range n {
				w[j*k+i] = v[i*n+j]
			}
		}
		return layer{u, 1, n, k, w}, true, nil
	}
	return l, false, nil
}

// moments are the second moments of the patches of a layer, a matrix for each group: of the patches x as the quantized model sees them,
// E[x xᵀ], and of those with the patches y of the float model, E[x yᵀ]; and their means.
type moments struct {
	n            int
	xx, xy       [][]float32 // [k, k]
	meanX, meanY []float64   // [groups*k], sums until finish
}

func newMoments(l layer) *moments {
	m := &moments{meanX: make([]float64, l.groups*l.k), meanY: make([]float64, l.groups*l.k)}
	for range l.groups {
		m.xx = append(m.xx, make([]float32, l.k*l.k))
		m.xy = append(m.xy, make([]float32, l.k*l.k))
	}
	return m
}

// add takes n patches: x and y are [n, groups*k].
func (m *moments) add(l layer, x, y []float32, n int, pool *par.Pool) {
	wide := l.groups * l.k
	for i := range n {
		for j := range wide {
			m.meanX[j] += float64(x[i*wide+j])
			m.meanY[j] += float64(y[i*wide+j])
		}
	}
	for g := range l.groups {
		part := func(v []float32) gemm.View[float32] {
			return gemm.View[float32]{Data: v[g*l.k:], Rows: n, Cols: l.k, RowStride: wide, ColStride: 1}
		}
		o := gemm.Options[float32]{Accumulate: true, Pool: pool}
		gemm.Gemm(gemm.RowMajor(m.xx[g], l.k, l.k), part(x).T(), part(x), o)
		gemm.Gemm(gemm.RowMajor(m.xy[g], l.k, l.k), part(x).T(), part(y), o)
	}
	m.n += n
}

// finish turns sums into means, and moments into covariances: the mean error is the bias's to mend, not the weights'.
func (m *moments) finish(l layer) {
	f := 1 / float64(max(m.n, 1))
	for i := range m.meanX {
		m.meanX[i] *= f
		m.meanY[i] *= f
	}
	for g := range l.groups {
		mx, my := m.meanX[g*l.k:(g+1)*l.k], m.meanY[g*l.k:(g+1)*l.k]
		for i := range l.k {
			for j := range l.k {
				p := i*l.k + j
				m.xx[g][p] = float32(float64(m.xx[g][p])*f - mx[i]*mx[j])
				m.xy[g][p] = float32(float64(m.xy[g][p])*f - mx[i]*my[j])
			}
		}
	}
}

// patchesOf gathers n rows of the input at random places: [n, groups*k]. The places depend on seed and the shapes alone.
func (l layer) patchesOf(x []float32, shape []int64, n int, seed uint64, out []float32) int {
	r := rand.New(rand.NewPCG(seed, 7))
	if !l.u.node.Is("Conv") {
		rows := len(x) / l.k
		n = min(n, rows)
		for i := range n {
			at := r.IntN(rows)
			if n == rows {
				at = i
			}
			copy(out[i*l.k:(i+1)*l.k], x[at*l.k:])
		}
		return n
	}
	c := geometryOf(l, shape)
	if c.outH*c.outW <= 0 {
		return 0
	}
	n = min(n, c.batch*c.outH*c.outW)
	wide := l.groups * l.k
	for i := range n {
		at := r.IntN(c.batch * c.outH * c.outW)
		c.patch(x, at/(c.outH*c.outW), at/c.outW%c.outH, at%c.outW, out[i*wide:(i+1)*wide])
	}
	return n
}

// geometry is a convolution over one input.
type geometry struct {
	batch, channels, h, w, outH, outW int
	kh, kw, sh, sw, dh, dw, top, left int
}

func geometryOf(l layer, shape []int64) geometry {
	n := l.u.node
	s := n.Operand(l.u.weight).Const().Shape()
	flat := len(s) == 3 // one axis of space: a picture of one row
	at := func(v []int64, i int, def int) int {
		if flat {
			i--
		}
		if i < 0 || i >= len(v) {
			return def
		}
		return int(v[i])
	}
	pads := n.Ints("pads")
	half := len(pads) / 2
	c := geometry{batch: int(shape[0]), channels: int(shape[1])}
	c.h, c.w = at(shape[2:], 0, 1), at(shape[2:], 1, 1)
	c.kh, c.kw = at(s[2:], 0, 1), at(s[2:], 1, 1)
	c.sh, c.sw = at(n.Ints("strides"), 0, 1), at(n.Ints("strides"), 1, 1)
	c.dh, c.dw = at(n.Ints("dilations"), 0, 1), at(n.Ints("dilations"), 1, 1)
	c.top, c.left = at(pads[:half], 0, 0), at(pads[:half], 1, 0)
	if same := n.Str("auto_pad", "NOTSET"); strings.HasPrefix(same, "SAME") {
		lower := same == "SAME_LOWER"
		c.outH, c.top = samePad(c.h, c.kh, c.sh, c.dh, lower)
		c.outW, c.left = samePad(c.w, c.kw, c.sw, c.dw, lower)
		return c
	}
	c.outH = (c.h+c.top+at(pads[half:], 0, 0)-(c.kh-1)*c.dh-1)/c.sh + 1
	c.outW = (c.w+c.left+at(pads[half:], 1, 0)-(c.kw-1)*c.dw-1)/c.sw + 1
	return c
}

// samePad is the size of the result along an axis, and the padding before, where auto_pad makes the result as large as the input over the
// stride.
func samePad(n, k, stride, dilation int, lower bool) (out, before int) {
	out = (n + stride - 1) / stride
	total := max((out-1)*stride+(k-1)*dilation+1-n, 0)
	before = total / 2
	if lower {
		before = total - before
	}
	return out, before
}

// patch copies what the kernel sees at one place of the result, channel by channel.
func (c geometry) patch(x []float32, b, oy, ox int, out []float32) {
	i := 0
	for ch := range c.channels {
		plane := x[(b*c.channels+ch)*c.h*c.w:]
		for ky := range c.kh {
			y := oy*c.sh - c.top + ky*c.dh
			for kx := range c.kw {
				xx := ox*c.sw - c.left + kx*c.dw
				if y >= 0 && y < c.h && xx >= 0 && xx < c.w {
					out[i] = plane[y*c.w+xx]
				} else {
					out[i] = 0
				}
				i++
			}
		}
	}
}

// momentBytes bounds the matrices that are held at once, longestRow the rows for which there are any.
const (
	momentBytes = 48 << 20
	longestRow  = 1200
)

// learn gathers moments of layers, and hands each to use. The float model gives the targets; what a layer sees is their rounding by the
// quantizer of its input.
func (p *plan) learn(data *measured.Calibration, layers []layer, use func(l layer, m *moments)) error {
	pool := par.New(data.Threads())
	samples := max(data.Len(), 1)
	for from := 0; from < len(layers); {
		to, bytes := from, 0
		for ; to < len(layers) && (to == from || bytes < momentBytes); to++ {
			bytes += 8 * layers[to].groups * layers[to].k * layers[to].k
		}
		chunk := layers[from:to]
		ms := make([]*moments, len(chunk))
		taps := make([]*ir.Value, len(chunk))
		for i, l := range chunk {
			ms[i], taps[i] = newMoments(l), l.u.node.Operand(l.u.acts[0])
		}
		type rows struct {
			x, y []float32
			n    int
		}
		err := measured.TapsWith(p.c.Context(), data, p.m, taps, func(sample int, t []*ir.Tensor) ([]rows, error) {
			r := make([]rows, len(chunk))
			for i, l := range chunk {
				v, err := measured.Floats(t[i])
				if err != nil {
					return nil, err
				}
				if len(v) == 0 {
					continue
				}
				n := (min(max(6*l.k, 1024), 4096) + samples - 1) / samples
				y := make([]float32, n*l.groups*l.k)
				n = l.patchesOf(v, t[i].Shape(), n, uint64(sample), y)
				y = y[:n*l.groups*l.k]
				x := make([]float32, len(y))
				rounded := p.byVal[taps[i]].group.q.rounder()
				for j, e := range y {
					x[j] = rounded(e)
				}
				r[i] = rows{x, y, n}
			}
			return r, nil
		}, func(_ int, r []rows) error {
			for i, l := range chunk {
				if r[i].n > 0 {
					ms[i].add(l, r[i].x, r[i].y, r[i].n, pool)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, l := range chunk {
			ms[i].finish(l)
			use(l, ms[i])
		}
		from = to
	}
	return nil
}
