package tflite

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Values of the option layout.
const (
	layoutNHWC = "nhwc"
	layoutKeep = "keep"
)

// layoutNote says that an input or output lies in another order than in the model it comes from.
type layoutNote struct {
	what, name  string
	shape, perm []int
}

func identity(rank int) []int {
	p := make([]int, rank)
	for i := range p {
		p[i] = i
	}
	return p
}

// channelsLast is the order of axes with the second one last.
func channelsLast(rank int) []int {
	p := []int{0}
	for i := 2; i < rank; i++ {
		p = append(p, i)
	}
	return append(p, 1)
}

func permuted[T any](v []T, perm []int) []T {
	r := make([]T, len(perm))
	for i, a := range perm {
		r[i] = v[a]
	}
	return r
}

// inverse of a permutation: the place of each axis.
func inverse(perm []int) []int {
	r := make([]int, len(perm))
	for i, a := range perm {
		r[a] = i
	}
	return r
}

// view is the one that v has had from the beginning; constants have the order of the model.
func (e *emitter) view(v *ir.Value) view {
	if e.region != nil && e.dequantized[v] {
		return e.integersOf(v)
	}
	if l := e.views[v]; len(l) > 0 {
		return l[0]
	}
	if e.dequantized[v] {
		w := e.floatsFrom(v)
		e.define(v, w.t, w.perm)
		return w
	}
	t := e.constant(v)
	if t == nil {
		e.fail(errNoValue)
		return view{e.ints(), identity(1)}
	}
	w := view{e.fromTensor(v.Name(), t), identity(t.Rank())}
	e.views[v] = []view{w}
	return w
}

func (e *emitter) fromTensor(base string, t *ir.Tensor) *tensor {
	typ, err := typeOf(t.DType())
	e.fail(err)
	data, err := t.Bytes()
	e.fail(err)
	shape := make([]int, t.Rank())
	for i, d := range t.Shape() {
		shape[i] = int(d)
	}
	if data == nil {
		data = []byte{}
	}
	return e.literal(base, typ, shape, data)
}

// as is v with its axes in the given order.
func (e *emitter) as(v *ir.Value, perm []int) *tensor {
	first := e.view(v)
	for _, w := range e.placed(v) {
		if slices.Equal(w.perm, perm) {
			return w.t
		}
	}
	t := e.relayout(v.Name(), first, perm)
	e.define(v, t, perm)
	return t
}

// relayout brings a view into another order: constants when they are written, sizes of one without moving anything.
func (e *emitter) relayout(base string, w view, perm []int) *tensor {
	place := inverse(w.perm)
	move := permuted(place, perm) // axis i of the result is axis move[i] of the tensor
	shape := permuted(w.t.shape, move)
	if w.t.data != nil {
		return e.moved(base, w.t, shape, transposeBytes(w.t.data, w.t.shape, move))
	}
	if !moves(w.t.shape, move) {
		return e.reshape(base, w.t, shape)
	}
	return e.op(opTranspose, base, w.t.typ, shape, options{}, w.t, e.ints(move...))
}

// moves reports whether a transposition of a tensor moves elements: whether it changes the order of axes that are not of size one.
func moves(shape, move []int) bool {
	last := -1
	for _, a := range move {
		if shape[a] == 1 {
			continue
		}
		if a < last {
			return true
		}
		last = a
	}
	return false
}

// inOrder reports whether a value of a shape that has its axes in the order perm is, as it lies, also one with the order other.
func inOrder(shape, perm, other []int) bool {
	return !moves(permuted(shape, perm), permuted(inverse(perm), other))
}

// reshape gives t another shape. Of several in a row the last is what counts.
func (e *emitter) reshape(base string, t *tensor, shape []int) *tensor {
	for t.reshapes != nil {
		t = t.reshapes
	}
	if slices.Equal(t.shape, shape) {
		return t
	}
	if t.data != nil {
		return e.moved(base, t, shape, t.data)
	}
	r := e.op(opReshape, base, t.typ, shape, options{}, t, e.ints(shape...))
	r.reshapes = t
	return r
}

// moved is the constant t with other data and shape.
func (e *emitter) moved(base string, t *tensor, shape []int, data []byte) *tensor {
	if t.quant == nil {
		return e.literal(base, t.typ, shape, data)
	}
	u := e.tensor(base, t.typ, shape)
	u.data, u.quant = data, t.quant
	return u
}

// transposeBytes moves the elements of a tensor: axis i of the result is axis move[i].
func transposeBytes(data []byte, shape, move []int) []byte {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if n == 0 || len(shape) < 2 {
		return data
	}
	size := len(data) / n
	pitch := make([]int, len(shape))
	for i, p := len(shape)-1, size; i >= 0; i-- {
		pitch[i] = p
		p *= shape[i]
	}
	r := make([]byte, 0, len(data))
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(move) {
			r = append(r, data[at:at+size]...)
			return
		}
		for i := range shape[move[axis]] {
			walk(axis+1, at+i*pitch[move[axis]])
		}
	}
	walk(0, 0)
	return r
}

// broadcast is v with leading axes of size one up to the rank, in the given order.
func (e *emitter) broadcast(v *ir.Value, rank int, perm []int) *tensor {
	s := e.shape(v)
	if len(s) == rank {
		return e.as(v, perm)
	}
	if len(s) == 0 { // scalars fit everything
		return e.view(v).t
	}
	whole := append(slices.Repeat([]int{1}, rank-len(s)), s...)
	t := e.reshape(v.Name(), e.as(v, identity(len(s))), whole)
	return e.relayout(v.Name(), view{t, identity(rank)}, perm)
}

// common is the order that the operands of an elementwise operator had best have: that of the first computed one that has all axes
// and lies in another than the model's.
func (e *emitter) common(rank int, values ...*ir.Value) []int {
	var best []int
	for _, v := range values {
		if v == nil || e.constant(v) != nil || len(e.shape(v)) != rank {
			continue
		}
		w := e.view(v)
		if best == nil || slices.IsSorted(best) {
			best = w.perm
		}
	}
	if best == nil {
		return identity(rank)
	}
	return best
}

// prune removes operations whose results nobody reads, and tensors that no operation has.
func (f *file) prune() {
	used := map[*tensor]bool{}
	for _, p := range append(slices.Clone(f.inputs), f.outputs...) {
		used[p.tensor] = true
	}
	var ops []*operation
	for _, o := range slices.Backward(f.ops) {
		if !slices.ContainsFunc(o.out, func(t *tensor) bool { return used[t] }) {
			continue
		}
		for _, t := range append(slices.Clone(o.in), o.out...) {
			if t != nil {
				used[t] = true
			}
		}
		ops = append(ops, o)
	}
	slices.Reverse(ops)
	f.ops = ops
	f.tensors = slices.DeleteFunc(f.tensors, func(t *tensor) bool { return !used[t] })
}
