package tflite

import (
	"errors"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// region is the node that is being translated on integers.
type region struct {
	node  *ir.Node
	last  *ir.Value // the float result that the quantizer reads
	out   *ir.Value // the quantizer's result
	quant *quant    // of it
	first int       // the first operation of the file that is of the region
}

// region finds the integers around n; nil if it has to be computed in float.
func (e *emitter) regionOf(n *ir.Node) *region {
	one, ok := quantizableOps()[n.Op().Type]
	if !ok || n.Op().Domain != "" || n.NumResults() != 1 {
		return nil
	}
	data := n.NumOperands()
	switch n.Op().Type {
	case "Add", "Sub", "Mul", "Concat":
	default:
		data = 1
	}
	computed := false
	for i := range data {
		d := e.quantized(n.Operand(i))
		if d == nil || e.facts.DType(d.Operand(0)).Bits() != 8 {
			return nil
		}
		computed = computed || e.constant(d.Operand(0)) == nil
		if q, err := e.paramsOf(d); err != nil || len(q.scale) != 1 {
			return nil
		}
	}
	if !computed {
		return nil
	}
	r := &region{node: n, last: n.Result(0)}
	u := e.onlyUser(r.last)
	if u != nil && (u.Is("Relu") || u.Is("Clip")) && !one && fixedQuant(n.Op().Type) == nil {
		if lo, hi, ok := e.limits(u); u.Is("Relu") || ok && (lo == 0 && (hi == 6 || math.IsInf(hi, 1)) || lo == -1 && hi == 1) {
			r.last = u.Result(0)
			u = e.onlyUser(r.last)
		}
	}
	if u == nil || !u.Is("QuantizeLinear") || u.Op().Domain != "" || u.Operand(0) != r.last {
		return nil
	}
	q, err := e.paramsOf(u)
	if err != nil || len(q.scale) != 1 {
		return nil
	}
	r.out, r.quant = u.Result(0), q
	return r
}

// onIntegers translates n within its region, and reports whether it could; otherwise nothing happened.
func (e *emitter) onIntegers(n *ir.Node, f lowering) bool {
	r := e.regionOf(n)
	if r == nil {
		return false
	}
	ops, tensors := len(e.file.ops), len(e.file.tensors)
	r.first = ops
	e.journal, e.region = e.journal[:0], r
	done := []*ir.Node{}
	for u := range r.last.Uses() {
		done = append(done, u.Node)
	}
	err := f(e, n)
	if err == nil {
		err = e.err
	}
	if err == nil && len(e.views[r.out]) == 0 {
		err = errors.New("no result")
	}
	e.region = nil
	if err == nil {
		for _, u := range done {
			e.done[u] = true
		}
		return true
	}
	e.err = nil
	for _, l := range slices.Backward(e.journal) {
		m := e.views
		if l.quantized {
			m = e.integers
		}
		m[l.v] = m[l.v][:len(m[l.v])-1]
	}
	e.file.ops, e.file.tensors = e.file.ops[:ops], e.file.tensors[:tensors]
	delete(e.done, r.last.Node())
	return false
}

// finish gives the result of a region its scale: the tensor is written with it, or brought to it.
func (e *emitter) finish(t *tensor, perm []int) {
	r := e.region
	fixed := fixedQuant(r.node.Op().Type)
	made := e.maker(r, t) != nil
	switch {
	case made && fixed != nil:
		e.scale(r, t, fixed)
	case made && !quantizableOps()[r.node.Op().Type]:
		e.scale(r, t, r.quant)
	}
	if !sameQuant(t.quant, r.quant) {
		u := e.tensor(r.out.Name(), typeInt8, t.shape)
		u.quant = r.quant
		e.file.ops = append(e.file.ops, &operation{code: opQuantize, version: 1, in: []*tensor{t}, out: []*tensor{u}})
		t = u
	}
	e.views[r.out] = append(e.views[r.out], view{t, perm})
	e.journal = append(e.journal, logged{r.out, false})
}

// maker is the operation of a region that gives t; nil if none does.
func (e *emitter) maker(r *region, t *tensor) *operation {
	for _, o := range e.file.ops[r.first:] {
		if slices.Contains(o.out, t) {
			return o
		}
	}
	return nil
}

// scale gives t its scale, and with it everything in the region that was only moved to become t.
func (e *emitter) scale(r *region, t *tensor, q *quant) {
	for {
		o := e.maker(r, t)
		if o == nil {
			return
		}
		t.quant = q
		switch o.code {
		case opReshape, opTranspose, opSlice, opStridedSlice:
			t = o.in[0]
		default:
			return
		}
	}
}

func sameQuant(a, b *quant) bool {
	return slices.Equal(a.scale, b.scale) && slices.Equal(a.zero, b.zero)
}

// logged is a view that was defined.
type logged struct {
	v         *ir.Value
	quantized bool
}
