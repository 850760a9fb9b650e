package constfold

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

const (
	// scratch is what an evaluation may allocate beside its results and as much again.
	scratch = 64 << 20
	// maxWork bounds the multiplications of one evaluation, about a second of the plain loops. It is counted, not timed, so that the
	// same model folds alike on every machine.
	maxWork = 1 << 30
	// stringSize stands for the size of a string, which nobody declares.
	stringSize = 16
	// maxFill is the largest result in bytes of a ConstantOfShape that stays.
	maxFill = 4 << 10
)

// stays reports whether no use of a ConstantOfShape folds with it: each has an operand that is known in a run only. Folding it would make
// the file larger and spare nothing, for engines compute it once.
func stays(n *ir.Node) bool {
	for u := range n.Result(0).Uses() {
		if u.Node.IsReturn() || !slices.ContainsFunc(u.Node.Operands(), func(v *ir.Value) bool {
			return v != nil && v.Const() == nil && (v.Node() == nil || !v.Node().Is("ConstantOfShape", "Constant"))
		}) {
			return false
		}
	}
	return n.Result(0).NumUses() > 0 && n.Operand(0).Const().Len() > 1 // what there is one of for each channel is small, and read by many rules
}

// evaluate computes the used results of n, whose operands are constants. An error says why n is to stay.
func (f *folder) evaluate(n *ir.Node) ([]*ir.Tensor, error) {
	fn := kernel.Lookup(n.Op(), n.Graph().Opset(n.Op().Domain))
	if fn == nil {
		return nil, fmt.Errorf("there is no kernel for %s", n.Op())
	}
	operands, freed := sizes(n)
	if operands > int64(f.o.MaxSize) {
		return nil, fmt.Errorf("its operands take %d bytes and may take %d", operands, f.o.MaxSize)
	}
	limit := min(add(freed, int64(f.o.MaxGrowth)), int64(f.o.MaxSize))
	if n.Is("ConstantOfShape") && stays(n) {
		limit = min(limit, maxFill)
	}
	if size := f.declared(n); size > limit {
		return nil, fmt.Errorf("its results take %d bytes and may take %d", size, limit)
	}
	if w := f.work(n, limit); w > maxWork {
		return nil, fmt.Errorf("it takes about %.2g multiplications, more than %d", w, maxWork)
	}
	in := make([]ir.Datum, n.NumOperands())
	for i, v := range n.Operands() {
		if v != nil {
			in[i] = v.Const()
		}
	}
	call := kernel.NewCall(f.c.Context(), n.Op(), n.Graph().Opset(n.Op().Domain), n.Attr, in, n.NumResults())
	for i, v := range n.Results() {
		call.Out[i] = v.NumUses() > 0
	}
	call.Limit = 2*limit + scratch
	out, err := fn(call)
	if err != nil {
		return nil, err
	}
	return f.check(n, out, limit)
}

// check holds computed results against what is known of their types and against the limit.
func (f *folder) check(n *ir.Node, out []ir.Datum, limit int64) ([]*ir.Tensor, error) {
	r := make([]*ir.Tensor, n.NumResults())
	size := int64(0)
	for i, v := range n.Results() {
		if v.NumUses() == 0 {
			continue
		}
		if i >= len(out) {
			return nil, fmt.Errorf("its result %d was not computed", i)
		}
		t, ok := out[i].(*ir.Tensor)
		if !ok || t == nil {
			return nil, fmt.Errorf("its result %d is no tensor", i)
		}
		if _, ok := f.facts.Type(v).Merge(t.Type()); !ok {
			return nil, fmt.Errorf("its result %d is a %s and declared as %s", i, t.Type(), f.facts.Type(v))
		}
		size = add(size, bytesOf(t.DType(), t.Len()))
		r[i] = t
	}
	if size > limit {
		return nil, fmt.Errorf("its results take %d bytes and may take %d", size, limit)
	}
	return r, nil
}

// sizes are the bytes of the operands of n as far as it reads them, and of those that nothing else uses: they go once n is
// folded. A constant may be stored in less than that: sparse ones are expanded when they are read.
func sizes(n *ir.Node) (operands, freed int64) {
	for _, v := range n.Operands() {
		if v == nil {
			continue
		}
		size := bytesOf(v.Const().DType(), v.Const().Len())
		operands = add(operands, size)
		if v.NumUses() == 1 {
			freed = add(freed, size)
		}
	}
	if ops.Has(n, ops.ShapeOnly) {
		operands = 0
	}
	return operands, freed
}

// declared is the size of the used results as far as their types tell.
func (f *folder) declared(n *ir.Node) int64 {
	size := int64(0)
	for _, v := range n.Results() {
		if v.NumUses() == 0 {
			continue
		}
		t := f.facts.Type(v)
		if dims, ok := t.TensorShape().Ints(); ok {
			size = add(size, bytesOf(t.DType(), ir.NumElements(dims)))
		}
	}
	return size
}

// huge stands for every size that is too large to say.
const huge = math.MaxInt64 / 4

// add is the sum of two sizes.
func add(a, b int64) int64 {
	if a > huge-b {
		return huge
	}
	return a + b
}

// bytesOf is the size of n elements.
func bytesOf(d ir.DType, n int64) int64 {
	switch {
	case d == ir.String && n >= 0 && n < huge/stringSize:
		return n * stringSize
	case d.ByteLen(n) < 0:
		return huge
	}
	return min(d.ByteLen(n), huge)
}

// work estimates the multiplications of n, whose results take at most limit bytes. For a matrix product [m,k]x[k,n] the square root
// of the product of the sizes of operands and result is m*k*n; for a convolution it is the true number divided by the root of
// the kernel's size. Operators that do a fixed number of steps for each element count as none.
func (f *folder) work(n *ir.Node, limit int64) float64 {
	if ops.Has(n, ops.Movement) || ops.Has(n, ops.Unary) || ops.Has(n, ops.Broadcast) || ops.Has(n, ops.ShapeOnly) {
		return 0
	}
	w, operands := float64(limit), 0
	if dims, ok := f.facts.Shape(n.Result(0)).Ints(); ok {
		w = float64(max(1, ir.NumElements(dims)))
	}
	for _, v := range n.Operands() {
		if v != nil && v.Const().Rank() >= 2 {
			w *= float64(max(1, v.Const().Len()))
			operands++
		}
	}
	if operands < 2 {
		return 0
	}
	return math.Sqrt(w)
}
