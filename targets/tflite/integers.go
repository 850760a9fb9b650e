package tflite

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// kernelless says which element types LiteRT 2.3.0 has no kernel for, by the operator of the model, where the operator has one for others. It
// would find that out when it runs. bench/targets/sweep found them.
func kernelless() map[string][]ir.DType {
	return map[string][]ir.DType{
		"Div": {ir.Int64}, "PRelu": {ir.Int32, ir.Int64}, "ArgMax": {ir.Int64}, "ArgMin": {ir.Int64}, "ReduceL2": {ir.Int32, ir.Int64},
		"DepthToSpace": {ir.Bool, ir.Int16}, "SpaceToDepth": {ir.Bool, ir.Int16}, "Resize": {ir.Int64}, "Split": {ir.Bool},
	}
}

// computable says why n cannot be computed for its type of elements.
func (e *emitter) computable(n *ir.Node) error {
	d := e.facts.DType(n.Operand(0))
	if slices.Contains(kernelless()[n.Op().Type], d) {
		return fmt.Errorf("elements of type %s, for which the target has no such kernel", d)
	}
	return nil
}

// orIntegers is what an operator on one operand, which the target has for floats, is on integers.
func orIntegers(code opcode, ints func(e *emitter, base string, t *tensor) *tensor) lowering {
	return func(e *emitter, n *ir.Node) error {
		w := e.view(n.Operand(0))
		if w.t.typ != typeInt64 && (w.t.typ != typeInt32 || code != opRelu) { // of 32 bits there are the others
			return unary(code)(e, n)
		}
		e.define(n.Result(0), ints(e, n.Result(0).Name(), w.t), w.perm)
		return nil
	}
}

// bounded is t with no element below lo, or none above.
func (e *emitter) bounded(code opcode, base string, t *tensor, bound int64) *tensor {
	data := ir.AsBytes([]int64{bound})
	if t.typ == typeInt32 {
		data = ir.AsBytes([]int32{int32(bound)})
	}
	return e.op(code, base, t.typ, t.shape, options{}, t, e.literal("const", t.typ, []int{}, data))
}

// intRelu is max(t, 0).
func intRelu(e *emitter, base string, t *tensor) *tensor { return e.bounded(opMaximum, base, t, 0) }

// intAbs is max(t, -t).
func intAbs(e *emitter, base string, t *tensor) *tensor {
	return e.op(opMaximum, base, t.typ, t.shape, options{}, t, e.op(opNeg, base, t.typ, t.shape, options{}, t))
}

// intSign is t between -1 and 1.
func intSign(e *emitter, base string, t *tensor) *tensor {
	return e.bounded(opMinimum, base, e.bounded(opMaximum, base, t, -1), 1)
}

// lowerPow takes powers of floats, to an integer that is the same for all elements, too.
func lowerPow(e *emitter, n *ir.Node) error {
	a, b := n.Operand(0), n.Operand(1)
	if e.typ(a) == typeFloat32 && (e.typ(b) == typeInt32 || e.typ(b) == typeInt64) && len(e.shape(b)) <= len(e.shape(a)) {
		l, err := e.intsOf(b)
		if err != nil || len(l) != 1 || math.Abs(float64(l[0])) > 1<<24 { // which floats hold
			return errors.New("a power that is no constant number")
		}
		w := e.view(a)
		e.result(n, opPow, w.perm, options{}, w.t, e.scalar(float32(l[0])))
		return nil
	}
	return binary(opPow)(e, n)
}

// lowerCast goes from floats to bytes by way of 32 bits, so that what does not fit is cut off as elsewhere; the standard leaves that open.
func lowerCast(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	to := e.typ(n.Result(0))
	switch {
	case to == w.t.typ && e.float(n.Operand(0)):
		e.define(n.Result(0), w.t, w.perm)
		return nil
	case w.t.typ == typeFloat32 && to == typeUint8:
		w.t = e.op(opCast, n.Result(0).Name(), typeInt32, w.t.shape, castOptions(w.t.typ, typeInt32), w.t)
	}
	e.result(n, opCast, w.perm, castOptions(w.t.typ, to), w.t)
	return nil
}
