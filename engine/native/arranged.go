package native

import (
	"sync"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// arranged is what the nodes of a session have arranged of constants, so that those that have one constant arrange it once. The
// nil pointer remembers nothing.
type arranged struct {
	mu     sync.Mutex
	convs  map[*ir.Tensor]*gemm.Conv
	rights map[rightOperand]*gemm.PackedB[float32]
}

type rightOperand struct {
	t          *ir.Tensor
	transposed bool
}

// conv lets c share the weights w with the first convolution that has them.
func (a *arranged) conv(w *ir.Tensor, c *gemm.Conv) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if first := a.convs[w]; first != nil {
		c.Share(first)
		return
	}
	if a.convs == nil {
		a.convs = map[*ir.Tensor]*gemm.Conv{}
	}
	a.convs[w] = c
}

// right is operand t, or its transpose, packed.
func (a *arranged) right(t *ir.Tensor, transposed bool, pack func() *gemm.PackedB[float32]) *gemm.PackedB[float32] {
	if a == nil {
		return pack()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := rightOperand{t, transposed}
	p := a.rights[key]
	if p == nil {
		if a.rights == nil {
			a.rights = map[rightOperand]*gemm.PackedB[float32]{}
		}
		p = pack()
		a.rights[key] = p
	}
	return p
}
