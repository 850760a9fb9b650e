package infer

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// Severity says how bad a remark is.
type Severity uint8

// The severities. An error is a node that cannot run with operands of these types; a warning is a statement of the file that is wrong but
// does no harm, or an error in a place that may never run; a note says why something is not known.
const (
	Note Severity = iota
	Warning
	Error
)

// String is the severity's name.
func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// Remark is something that inference has to say.
type Remark struct {
	Severity Severity
	Node     *ir.Node  // nil for a remark on an interface
	Value    *ir.Value // the value it is about, nil if it is about the node
	Message  string
}

// String is the remark with its place.
func (r Remark) String() string {
	place := ""
	switch {
	case r.Node != nil:
		place = fmt.Sprintf("%s: %s", r.Node.Graph().Path(), r.Node)
	case r.Value != nil:
		place = fmt.Sprintf("%s: value %q", r.Value.Graph().Path(), r.Value.Name())
	}
	return place + ": " + r.Message
}

// Result is what inference found out of a model. It does not follow edits of the model, and it is not safe for concurrent use:
// answers are made when they are first asked for.
type Result struct {
	vals     *table
	remarks  []Remark
	reserved map[string]bool // dimension names of the model that are no identifiers
	shared   *shared         // for Extend to go on with
	types    recent
	shape    ir.Shape // where one is put together
}

// Remarks are the remarks in the order in which they were made.
func (r *Result) Remarks() []Remark { return r.remarks }

func (r *Result) info(v *ir.Value) *info {
	if v == nil {
		return nil
	}
	if x, _ := r.vals.get(v); x != nil {
		return x
	}
	if t := v.Const(); t != nil {
		x := r.shared.constants.info(t)
		r.vals.set(v, x)
		return x
	}
	return nil
}

// Type is the type of v, nil if nothing is known. A dimension that is an expression over the model's named dimensions has the
// expression's canonical spelling as its name.
func (r *Result) Type(v *ir.Value) *ir.Type { return r.info(v).typ(r) }

// Shape is the shape of v, nil if its rank is not known.
func (r *Result) Shape(v *ir.Value) ir.Shape { return r.Type(v).TensorShape() }

// DType is the element type of v, Undefined if it is not known.
func (r *Result) DType(v *ir.Value) ir.DType {
	if x := r.info(v); x != nil && (x.kind == ir.KindTensor || x.kind == ir.KindSparse) {
		return x.elem
	}
	return ir.Undefined
}

// Dims are the dimensions of v as expressions, those without a name in the model included; ok is false if the rank is not known.
// Equal expressions are equal sizes. The caller must not change them.
func (r *Result) Dims(v *ir.Value) (dims []Int, ok bool) {
	x := r.info(v)
	if x == nil || !x.ranked {
		return nil, false
	}
	return x.dims, true
}

// SameShape reports whether v and w surely have the same shape.
func (r *Result) SameShape(v, w *ir.Value) bool {
	a, ok := r.Dims(v)
	b, ok2 := r.Dims(w)
	if !ok || !ok2 || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Same(b[i]) {
			return false
		}
	}
	return true
}

// Ints are the elements of v in row-major order as expressions, if v is a small tensor of which something is known. Elements that are not
// known, or are no integers, are unknown.
func (r *Result) Ints(v *ir.Value) ([]Int, bool) {
	data := r.info(v).content()
	if data == nil {
		return nil, false
	}
	s := make([]Int, len(data))
	for i, e := range data {
		if !e.isNum {
			s[i] = e.Int
		}
	}
	return s, true
}

// Known is the value of v if it is the same in every run: v is a constant, or computed from sizes and constants that are all numbers. nil
// otherwise.
func (r *Result) Known(v *ir.Value) *ir.Tensor {
	if t := v.Const(); t != nil {
		return t
	}
	x := r.info(v)
	switch {
	case x == nil:
		return nil
	case x.tensor != nil:
		return x.tensor
	case x.data == nil:
		return nil
	}
	shape, ok := x.sizes()
	if !ok {
		return nil
	}
	return storeElems(x.elem, shape, x.data)
}

// Annotate records in the model what r knows of the results of its nodes where that adds to what is recorded. A recorded type that
// contradicts is replaced.
func Annotate(m *ir.Model, r *Result) {
	for n := range m.Nodes() {
		for _, v := range n.Results() {
			if v == nil {
				continue
			}
			if t := r.Type(v); t != nil && v.Refine(t) != nil {
				v.SetType(t)
			}
		}
	}
}
