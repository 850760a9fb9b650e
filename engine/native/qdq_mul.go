package native

import (
	"math"
	"slices"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// piece is how many elements lie in float32 at a time.
const piece = 1 << 10

// matchMul is the product of two tensors, of which one may have ones for the last axes of the other, as the factors of
// channels do. Its products are those of the separate nodes.
func matchMul(s *scope, m *match) executor {
	a, ok := m.activation(s, 0)
	b, okB := m.activation(s, 1)
	if !ok || !okB {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		x, y := t.tensor(0), t.tensor(1)
		if !a.fits(x) || !b.fits(y) {
			return nil, false
		}
		if x.Len() < y.Len() {
			return m.multiplied(t, y, x, b, a)
		}
		return m.multiplied(t, x, y, a, b)
	}
}

// leads reports whether small has the shape of big but for ones in the last axes.
func leads(big, small []int64) bool {
	if len(small) > len(big) || len(small) < len(big) && ir.NumElements(small) != 1 {
		return false
	}
	if len(small) < len(big) {
		return true
	}
	k := 0
	for k < len(big) && big[k] == small[k] {
		k++
	}
	return !slices.ContainsFunc(small[k:], func(d int64) bool { return d != 1 })
}

func (m *match) multiplied(t *task, x, y *ir.Tensor, a, b quantization) (*ir.Tensor, bool) {
	if !leads(x.Shape(), y.Shape()) {
		return nil, false
	}
	src, err := x.Bytes()
	factors, errY := y.Bytes()
	if err != nil || errY != nil {
		return nil, false
	}
	dst, ok := lendBytes[uint8](t, x.Shape())
	if !ok {
		return nil, false
	}
	u, v := values(a, x.DType()), values(b, y.DType())
	if run := len(src) / len(factors); run > 256 { // one table a factor
		t.pool.For(len(factors), max(1, grain/run), func(_, from, to int) {
			var products [256]float32
			for i := from; i < to; i++ {
				gemm.MulScalar(products[:], u, v[factors[i]])
				table := byteTable{to: m.quantized(products[:])}
				table.replace(dst[i*run:][:run], src[i*run:][:run])
			}
		})
	} else {
		t.split(len(dst), func(from, to int) {
			var products [piece]float32
			for ; from < to; from += piece {
				n := min(piece, to-from)
				factor, rest := from/run, run-from%run
				for i, e := range src[from:][:n] {
					products[i] = u[e] * v[factors[factor]]
					if rest--; rest == 0 {
						factor, rest = factor+1, run
					}
				}
				m.narrow(dst[from:][:n], products[:n])
			}
		})
	}
	return ir.NewTensor(m.dtype, x.Shape(), dst), true
}

// values is what the bytes of a type stand for.
func values(q quantization, from ir.DType) []float32 {
	if from == ir.Int8 {
		return everyValue[int8](q)
	}
	return everyValue[uint8](q)
}

// narrow quantizes v.
func (m *match) narrow(dst []uint8, v []float32) {
	if m.dtype == ir.Int8 {
		gemm.Quantize(signedBytes(dst), v, m.result.scales[0], zeroOf[int8](m.result), int8(m.lo), int8(m.hi))
		return
	}
	gemm.Quantize(dst, v, m.result.scales[0], zeroOf[uint8](m.result), uint8(m.lo), uint8(m.hi))
}

// signedBytes is v as signed ones.
func signedBytes(v []uint8) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// matchSoftmax is Softmax over the last axis: the exponentials of the distances from the largest integer of a row are a table, their
// sum is rounded once, and so is each quotient. The separate node rounds each exponential's argument instead.
func matchSoftmax(s *scope, m *match) executor {
	x, ok := m.activation(s, 0)
	if !ok {
		return nil
	}
	def := int64(-1)
	if m.opset < 13 {
		def = 1
	}
	axis := m.node.Int("axis", def)
	var e [256]float32 // by distance
	for d := range e {
		e[d] = float32(math.Exp(-float64(d) * float64(x.scales[0])))
	}
	return func(t *task) (*ir.Tensor, bool) {
		in := t.tensor(0)
		if !x.fits(in) || in.Rank() == 0 || axis != -1 && axis != int64(in.Rank())-1 {
			return nil, false
		}
		src, err := in.Bytes()
		if err != nil {
			return nil, false
		}
		dst, ok := lendBytes[uint8](t, in.Shape())
		if !ok {
			return nil, false
		}
		flip := uint8(0)
		if in.DType() == ir.Int8 {
			flip = 0x80 // orders signed bytes as unsigned ones
		}
		n := int(in.Shape()[in.Rank()-1])
		t.pool.For(len(src)/n, max(1, grain/n), func(_, from, to int) {
			for i := from; i < to; i++ {
				m.softmax(dst[i*n:][:n], src[i*n:][:n], &e, flip)
			}
		})
		return ir.NewTensor(m.dtype, in.Shape(), dst), true
	}
}

// softmax computes a row.
func (m *match) softmax(dst, src []uint8, e *[256]float32, flip uint8) {
	top := uint8(0)
	for _, q := range src {
		top = max(top, q^flip)
	}
	sum := 0.0
	for _, q := range src {
		sum += float64(e[top-(q^flip)])
	}
	if len(src) > 256 {
		var shares [256]float32
		for d := range shares {
			shares[d] = float32(float64(e[d]) / sum)
		}
		table := m.quantized(shares[:])
		for i, q := range src {
			dst[i] = table[top-(q^flip)]
		}
		return
	}
	var shares [256]float32
	for i, q := range src {
		shares[i] = float32(float64(e[top-(q^flip)]) / sum)
	}
	m.narrow(dst, shares[:len(src)])
}
