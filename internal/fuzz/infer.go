package fuzz

import (
	"fmt"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// sound compares what inference says of the values of a model with what they are.
func sound(m *ir.Model, vals []*value, sizes map[string][bindings]int64) *Failure {
	known := infer.Model(m)
	for _, r := range known.Remarks() {
		if r.Severity == infer.Error {
			return failf(Inference, "a model that runs is refused: %s", r)
		}
	}
	for b := range bindings {
		at := map[string]int64{}
		for s, n := range sizes {
			at[s] = n[b]
		}
		for _, x := range vals {
			d, ok := x.s[b].(*ir.Tensor)
			if !ok || d == nil || x.v.Dead() {
				continue
			}
			if why := contradicts(known, x.v, d, at); why != "" {
				return failf(Inference, "%s: %s", place(x.v), why)
			}
		}
	}
	return nil
}

func contradicts(known *infer.Result, v *ir.Value, d *ir.Tensor, sizes map[string]int64) string {
	if t := known.DType(v); t != ir.Undefined && t != d.DType() {
		return fmt.Sprintf("it is said to be %s and is %s", t, d.DType())
	}
	if d.Len() == 0 { // a Reshape whose shape comes out 0 copies a dimension, of which inference takes no notice
		return ""
	}
	if dims, ok := known.Dims(v); ok {
		if len(dims) != d.Rank() {
			return fmt.Sprintf("it is said to have rank %d and has shape %v", len(dims), d.Shape())
		}
		for i, e := range dims {
			if n, ok := e.Eval(sizes); ok && n != d.Shape()[i] {
				return fmt.Sprintf("dimension %d is said to be %s, %d with %v, and the shape is %v", i, e, n, sizes, d.Shape())
			}
		}
	}
	if k := known.Known(v); k != nil {
		if x := compare.Datum(d, k); (compare.Tolerance{Rel: 1e-5}).Check(x) != nil { // samples may come from fast kernels
			return "its elements are said to be others: " + x.String()
		}
	}
	if elems, ok := known.Ints(v); ok && d.DType() == ir.Int64 {
		have, err := ir.Elements[int64](d)
		if err != nil {
			return ""
		}
		if len(have) != len(elems) {
			return fmt.Sprintf("it is said to have %d elements and has %d", len(elems), len(have))
		}
		for i, e := range elems {
			if n, ok := e.Eval(sizes); ok && n != have[i] {
				return fmt.Sprintf("element %d is said to be %s, %d with %v, and is %d", i, e, n, sizes, have[i])
			}
		}
	}
	return ""
}

// place names a value by what makes it.
func place(v *ir.Value) string {
	n, i := v.Def()
	if n == nil {
		return fmt.Sprintf("value %q", v.Name())
	}
	return fmt.Sprintf("result %d of %s", i, text.PrintNode(n))
}
