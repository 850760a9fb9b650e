package tflite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// constantMatrix is a constant float operand with two axes.
func (e *emitter) constantMatrix(v *ir.Value) *ir.Tensor {
	if t := e.constant(v); t != nil && t.DType() == ir.Float32 && t.Rank() == 2 && t.Len() > 0 {
		return t
	}
	return nil
}

// fullyConnected defines the result of n, or of what is fused behind it, as x times a matrix of weights [outputs, inputs].
func (e *emitter) fullyConnected(n *ir.Node, x *tensor, weights *tensor, bias *tensor, shape []int) {
	last, act := e.activation(n)
	y := e.op(opFullyConnected, last.Result(0).Name(), x.typ, shape, fullyConnectedOptions(act, len(shape) > 2), x, weights, bias)
	e.define(last.Result(0), y, identity(len(shape)))
}

// addedBias is the node behind n that adds a constant row to its result, and the row.
func (e *emitter) addedBias(n *ir.Node, outputs int) (*ir.Node, *tensor) {
	u := e.onlyUser(n.Result(0))
	if u == nil || !u.Is("Add") || u.Op().Domain != "" {
		return n, nil
	}
	for i := range 2 {
		t := e.constant(u.Operand(i))
		if t == nil || t.DType() != ir.Float32 || int(t.Len()) != outputs || t.Rank() < 1 || int(t.Shape()[t.Rank()-1]) != outputs || t.Rank() > len(e.shape(n.Result(0))) {
			continue
		}
		e.done[u] = true
		return u, e.reshape(u.Operand(i).Name(), e.view(u.Operand(i)).t, []int{outputs})
	}
	return n, nil
}

func (e *emitter) zeros(n int) *tensor {
	return e.literal("bias", typeFloat32, []int{n}, make([]byte, 4*n))
}

func lowerMatMul(e *emitter, n *ir.Node) error {
	a, b := n.Operand(0), n.Operand(1)
	as, bs := e.shape(a), e.shape(b)
	if e.region != nil {
		if len(as) < 2 || len(bs) != 2 {
			return errors.New("no matrix of weights")
		}
		return e.intProduct(n, a, []int{1, 0}, nil)
	}
	if e.typ(a) != typeFloat32 || len(as) == 0 || len(bs) == 0 {
		return fmt.Errorf("elements of type %s", e.facts.DType(a))
	}
	if w := e.constantMatrix(b); w != nil {
		data, err := w.Bytes()
		if err != nil {
			return err
		}
		outputs := bs[1]
		weights := e.literal(b.Name(), typeFloat32, []int{bs[1], bs[0]}, transposeBytes(data, bs, []int{1, 0}))
		last, bias := e.addedBias(n, outputs)
		if bias == nil {
			bias = e.zeros(outputs)
		}
		x := e.as(a, identity(len(as)))
		if len(as) == 1 {
			x = e.reshape(a.Name(), x, []int{1, as[0]})
			y := e.op(opFullyConnected, n.Result(0).Name(), typeFloat32, []int{1, outputs}, fullyConnectedOptions(actNone, false), x, weights, bias)
			shape := e.shape(last.Result(0))
			e.define(last.Result(0), e.reshape(last.Result(0).Name(), y, shape), identity(len(shape)))
			return nil
		}
		e.fullyConnected(last, x, weights, bias, e.shape(last.Result(0)))
		return nil
	}
	if len(as) == 1 || len(bs) == 1 {
		return e.vectorProduct(n, as, bs)
	}
	if len(as) > 5 || len(bs) > 5 {
		return fmt.Errorf("operands of %d and %d axes", len(as), len(bs))
	}
	rank := max(len(as), len(bs))
	x, y := e.view(a), e.view(b)
	// The last two axes may be swapped on the fly.
	side := func(v *ir.Value, w view, s []int) (*tensor, bool) {
		swapped := identity(len(s))
		swapped[len(s)-1], swapped[len(s)-2] = swapped[len(s)-2], swapped[len(s)-1]
		if equalInts(w.perm, swapped) && len(s) == rank {
			return w.t, true
		}
		return e.broadcast(v, rank, identity(rank)), false
	}
	l, adjX := side(a, x, as)
	r, adjY := side(b, y, bs)
	e.result(n, opBatchMatMul, identity(rank), batchMatMulOptions(adjX, adjY), l, r)
	return nil
}

// vectorProduct is a product with vectors, which become a row on the left and a column on the right.
func (e *emitter) vectorProduct(n *ir.Node, as, bs []int) error {
	l, r := e.as(n.Operand(0), identity(len(as))), e.as(n.Operand(1), identity(len(bs)))
	if len(as) == 1 {
		l = e.reshape(n.Operand(0).Name(), l, []int{1, as[0]})
	}
	if len(bs) == 1 {
		r = e.reshape(n.Operand(1).Name(), r, []int{bs[0], 1})
	}
	rank := max(len(l.shape), len(r.shape))
	if rank > 5 {
		return fmt.Errorf("operands of %d and %d axes", len(as), len(bs))
	}
	row := func(t *tensor) *tensor {
		if len(t.shape) == rank {
			return t
		}
		return e.reshape(t.name, t, append(slices.Repeat([]int{1}, rank-len(t.shape)), t.shape...))
	}
	l, r = row(l), row(r)
	batch := broadcastShapes(l.shape[:rank-2], r.shape[:rank-2])
	name, shape := n.Result(0).Name(), e.shape(n.Result(0))
	y := e.op(opBatchMatMul, name, typeFloat32, append(slices.Clone(batch), l.shape[rank-2], r.shape[rank-1]), batchMatMulOptions(false, false), l, r)
	e.define(n.Result(0), e.reshape(name, y, shape), identity(len(shape)))
	return nil
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// intProduct is a product with a matrix of integer weights; order brings them into the target's, outputs first.
func (e *emitter) intProduct(n *ir.Node, a *ir.Value, order []int, bias *ir.Value) error {
	w, q, err := e.intWeights(n.Operand(1), order[0])
	if err != nil {
		return err
	}
	data, err := w.Bytes()
	if err != nil {
		return err
	}
	s := e.shape(n.Operand(1))
	x := e.as(a, identity(len(e.shape(a))))
	k := e.kernel(n.Operand(1).Name(), permuted(s, order), transposeBytes(data, s, order), q, 0)
	b, err := e.intBias(bias, k.shape[0], x.quant, q)
	if err != nil {
		return err
	}
	e.fullyConnected(n, x, k, b, e.shape(n.Result(0)))
	return nil
}

func lowerGemm(e *emitter, n *ir.Node) error {
	if e.region != nil {
		if n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 || n.Int("transA", 0) != 0 {
			return errors.New("factors, or a transposed operand")
		}
		order := []int{1, 0}
		if n.Int("transB", 0) != 0 {
			order = []int{0, 1}
		}
		return e.intProduct(n, n.Operand(0), order, n.Operand(2))
	}
	w := e.constantMatrix(n.Operand(1))
	if w == nil || n.Float("alpha", 1) != 1 || !e.rowBias(n, int(w.Len()/w.Shape()[n.Int("transB", 0)])) {
		return e.generalGemm(n)
	}
	data, err := w.Bytes()
	if err != nil {
		return err
	}
	s := e.shape(n.Operand(1))
	if n.Int("transB", 0) == 0 {
		data, s = transposeBytes(data, s, []int{1, 0}), []int{s[1], s[0]}
	}
	order := identity(2)
	if n.Int("transA", 0) != 0 {
		order = []int{1, 0}
	}
	weights := e.literal(n.Operand(1).Name(), typeFloat32, s, data)
	bias := e.zeros(s[0])
	if c := n.Operand(2); c != nil {
		v, err := ir.Elements[float32](e.constant(c))
		if err != nil {
			return err
		}
		row := make([]float32, s[0])
		for i := range row {
			row[i] = v[i%len(v)]
		}
		bias = e.literal(c.Name(), typeFloat32, []int{s[0]}, ir.AsBytes(row))
	}
	e.fullyConnected(n, e.as(n.Operand(0), order), weights, bias, e.shape(n.Result(0)))
	return nil
}

// rowBias reports whether the bias of a Gemm is none, or a constant row for so many outputs.
func (e *emitter) rowBias(n *ir.Node, outputs int) bool {
	c := n.Operand(2)
	if c == nil {
		return true
	}
	t := e.constant(c)
	return n.Float("beta", 1) == 1 && t != nil && t.DType() == ir.Float32 && (t.Len() == 1 || t.Len() == int64(outputs) && t.Shape()[t.Rank()-1] == t.Len())
}

// generalGemm is alpha * A' * B' + beta * C with operands of any kind.
func (e *emitter) generalGemm(n *ir.Node) error {
	if e.typ(n.Operand(0)) != typeFloat32 {
		return fmt.Errorf("elements of type %s", e.facts.DType(n.Operand(0)))
	}
	a, b := e.as(n.Operand(0), identity(2)), e.as(n.Operand(1), identity(2))
	name := n.Result(0).Name()
	o := batchMatMulOptions(n.Int("transA", 0) != 0, n.Int("transB", 0) != 0)
	c := chain{e, name, e.op(opBatchMatMul, name, typeFloat32, e.shape(n.Result(0)), o, a, b)}
	if alpha := n.Float("alpha", 1); alpha != 1 {
		c = c.with(opMul, alpha)
	}
	if v := n.Operand(2); v != nil && n.Float("beta", 1) != 0 {
		bias := chain{e, name, e.as(v, identity(len(e.shape(v))))}
		if beta := n.Float("beta", 1); beta != 1 {
			bias = bias.with(opMul, beta)
		}
		c = c.and(opAdd, bias.t)
	}
	e.define(n.Result(0), c.t, identity(2))
	return nil
}
