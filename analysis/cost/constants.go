package cost

import (
	"bytes"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// Constants sums up the constants of a model.
type Constants struct {
	Tensors    int
	Parameters int64 // elements
	Bytes      int64 // by type and shape; strings count their own bytes
	tensors    []*ir.Tensor
}

// constants lists initializers, defaults of inputs and the tensors that Constant nodes hold, each tensor once.
func constants(m *ir.Model) Constants {
	var c Constants
	seen := map[*ir.Tensor]bool{}
	add := func(t *ir.Tensor) {
		if t == nil || seen[t] {
			return
		}
		seen[t] = true
		c.Tensors++
		c.Parameters = analysis.Add(c.Parameters, max(t.Len(), 0))
		c.Bytes = analysis.Add(c.Bytes, byteLen(t))
		c.tensors = append(c.tensors, t)
	}
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			add(v.Const())
		}
		for _, s := range g.Inputs() {
			add(s.Value().Default())
		}
		for n := range g.Nodes() {
			if n.Op().Type == "Constant" {
				add(n.Result(0).Const())
			}
		}
	}
	return c
}

func byteLen(t *ir.Tensor) int64 {
	if t.DType() != ir.String {
		return max(t.ByteLen(), 0)
	}
	s, err := t.Strings()
	if err != nil {
		return 0
	}
	n := int64(0)
	for _, x := range s {
		n += int64(len(x))
	}
	return n
}

// List is the tensors themselves, each once. The caller must not change it.
func (c Constants) List() []*ir.Tensor { return c.tensors }

// Sparsity counts the elements that are zero, −0 included, among those of numeric tensors. It reads every constant once;
// an unreadable one is an error.
func (c Constants) Sparsity() (zeros, elements int64, err error) {
	for _, t := range c.tensors {
		if t.DType() == ir.String {
			continue
		}
		stored := t // what is not stored of a sparse tensor is zero
		if x, ok := t.Payload().(keep.Sparse); ok {
			stored = x.Sparse().Values
			n := ir.NumElements(t.Shape())
			if n < 0 {
				continue // more than can be counted
			}
			zeros += n - stored.Len()
		}
		b, err := stored.Bytes()
		if err != nil {
			return 0, 0, err
		}
		elements += max(t.Len(), stored.Len())
		zeros += countZeros(t.DType(), b, stored.Len())
	}
	return zeros, elements, nil
}

// countZeros counts among n elements those whose bits are zero, apart from the sign of types that have a negative zero.
func countZeros(d ir.DType, b []byte, n int64) int64 {
	zeros := int64(0)
	bits := d.Bits()
	if bits < 8 {
		per := int64(8 / bits)
		for i := range n {
			v := b[i/per] >> (int(i%per) * bits) & (1<<bits - 1)
			if v == 0 || d == ir.Float4E2M1 && v == 8 {
				zeros++
			}
		}
		return zeros
	}
	size := bits / 8
	zero := make([]byte, size)
	for ; len(b) >= size; b = b[size:] {
		if bytes.Equal(b[:size], zero) || negativeZero(d, b[:size]) {
			zeros++
		}
	}
	return zeros
}

func negativeZero(d ir.DType, e []byte) bool {
	switch d {
	case ir.Float32, ir.Float64, ir.Float16, ir.BFloat16, ir.Float8E4M3FN, ir.Float8E5M2:
	default:
		return false
	}
	for _, x := range e[:len(e)-1] {
		if x != 0 {
			return false
		}
	}
	return e[len(e)-1] == 0x80
}
