package tflite

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerReshape is for all operators whose result has the operand's elements in the same order. Axes that a Reshape splits or merges
// stay where they are among the others, so that channels that are split stay last.
func lowerReshape(e *emitter, n *ir.Node) error {
	x := n.Operand(0)
	in, out := e.shape(x), e.shape(n.Result(0))
	from, to := identity(len(in)), identity(len(out))
	if groups := axisGroups(in, out); groups != nil {
		from, to = from[:0], to[:0]
		seen := map[int]bool{}
		group := map[int]int{}
		for g, p := range groups {
			for _, a := range p.in {
				group[a] = g
			}
		}
		// Axes of size one lie anywhere, and do not count if there are others.
		for _, least := range []int{2, 0} {
			for _, a := range e.view(x).perm {
				if g := group[a]; !seen[g] && in[a] >= least {
					seen[g] = true
					from, to = append(from, groups[g].in...), append(to, groups[g].out...)
				}
			}
		}
	}
	if len(out) < 4 && !inOrder(e.shape(x), e.view(x).perm, from) {
		from, to = identity(len(in)), identity(len(out)) // something has to move: into the order that products want
	}
	t := e.reshape(n.Result(0).Name(), e.as(x, from), permuted(out, to))
	e.define(n.Result(0), t, to)
	return nil
}

// axisGroup is axes of an operand and those of the result that have the same elements.
type axisGroup struct{ in, out []int }

// axisGroups divides the axes of a Reshape into the smallest groups that have the same number of elements on both sides; nil where
// there are none, because a size is zero or there is no axis.
func axisGroups(in, out []int) []axisGroup {
	if slices.Contains(in, 0) || len(in) == 0 || len(out) == 0 {
		return nil
	}
	var r []axisGroup
	for i, j := 0, 0; i < len(in) && j < len(out); {
		g := axisGroup{[]int{i}, []int{j}}
		a, b := in[i], out[j]
		for i, j = i+1, j+1; a != b; {
			if a < b {
				a *= in[i]
				g.in = append(g.in, i)
				i++
			} else {
				b *= out[j]
				g.out = append(g.out, j)
				j++
			}
		}
		r = append(r, g)
		// What is left on one side when the other has ended has size one.
		last := &r[len(r)-1]
		if i == len(in) {
			for ; j < len(out); j++ {
				last.out = append(last.out, j)
			}
		}
		if j == len(out) {
			for ; i < len(in); i++ {
				last.in = append(last.in, i)
			}
		}
	}
	return r
}

// lowerTranspose moves nothing: it says what is where.
func lowerTranspose(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	perm := n.Ints("perm")
	if perm == nil {
		for i := range w.perm {
			perm = append(perm, int64(len(w.perm)-1-i))
		}
	}
	to := make([]int, len(perm)) // axis a of the operand is axis to[a] of the result
	for i, a := range perm {
		to[a] = i
	}
	e.define(n.Result(0), w.t, permuted(to, w.perm))
	return nil
}

func lowerConcat(e *emitter, n *ir.Node) error {
	rank := len(e.shape(n.Result(0)))
	axis, err := axisOf(n, 0, rank)
	if err != nil {
		return err
	}
	var in []*ir.Value
	for _, v := range n.Operands() {
		if !slices.Contains(e.shape(v), 0) {
			in = append(in, v)
		}
	}
	perm := e.common(rank, in...)
	parts := make([]*tensor, len(in))
	for i, v := range in {
		parts[i] = e.as(v, perm)
	}
	if e.region != nil { // all have the scale of the result
		for i, t := range parts {
			parts[i] = e.rescaled(t, e.region.quant)
		}
	}
	if at := slices.IndexFunc(parts, func(t *tensor) bool { return t.quant != nil && t.data == nil }); at >= 0 && e.region == nil {
		q := parts[at].quant
		for i, t := range parts {
			switch {
			case t.data != nil:
				parts[i] = e.onScale(t, q)
			case t.quant == nil || !sameQuant(t.quant, q):
				return errors.New("integers of several scales")
			}
		}
	}
	e.result(n, opConcatenation, perm, concatenationOptions(slices.Index(perm, axis)), parts...)
	return nil
}

// onScale is a constant of integers with the scale of those it stands beside, which changes none of them; q may be nil.
func (e *emitter) onScale(t *tensor, q *quant) *tensor {
	if q == nil {
		return t
	}
	c := e.tensor(t.name, t.typ, t.shape)
	c.data, c.quant = t.data, q
	return c
}

func lowerSplit(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	axis, err := axisOf(n, 0, len(w.perm))
	if err != nil {
		return err
	}
	var sizes []int
	o := &operation{code: opSplitV, version: versionOf(opSplitV)}
	for _, v := range n.Results() {
		s := e.shape(v)
		sizes = append(sizes, s[axis])
		t := e.tensor(v.Name(), w.t.typ, permuted(s, w.perm))
		o.out = append(o.out, t)
		e.define(v, t, w.perm)
	}
	o.in = []*tensor{w.t, e.ints(sizes...), e.literal("const", typeInt32, []int{}, ir.AsBytes([]int32{int32(slices.Index(w.perm, axis))}))}
	o.options = splitVOptions(len(sizes))
	e.file.ops = append(e.file.ops, o)
	return nil
}

// intsOf are the elements of a constant integer operand; nil if it is omitted.
func (e *emitter) intsOf(v *ir.Value) ([]int64, error) {
	if v == nil {
		return nil, nil
	}
	t := e.constant(v)
	if t == nil {
		return nil, fmt.Errorf("operand %q is no constant", v.Name())
	}
	if t.DType() == ir.Int32 {
		l, err := ir.Elements[int32](t)
		var r []int64
		for _, x := range l {
			r = append(r, int64(x))
		}
		return r, err
	}
	return ir.Elements[int64](t)
}

func lowerSlice(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	rank := len(w.perm)
	lists := [4][]int64{n.Ints("starts"), n.Ints("ends"), n.Ints("axes"), nil}
	if n.Graph().Opset("") >= 10 {
		for i := range lists {
			l, err := e.intsOf(n.Operand(i + 1))
			if err != nil {
				return err
			}
			lists[i] = l
		}
	}
	in, out := e.shape(n.Operand(0)), e.shape(n.Result(0))
	begin, step := make([]int, rank), ones(rank)
	plain := true
	for i, s := range lists[0] {
		a := int64(i)
		if lists[2] != nil {
			a = lists[2][i]
		}
		if a < 0 {
			a += int64(rank)
		}
		d := int64(in[a])
		if lists[3] != nil {
			step[a] = int(max(min(lists[3][i], math.MaxInt32), -math.MaxInt32))
		}
		if s < 0 {
			s += d
		}
		if step[a] > 0 {
			s = max(0, min(s, d))
		} else {
			s = max(0, min(s, d-1))
		}
		begin[a] = int(s)
		plain = plain && step[a] == 1
	}
	if slices.Contains(out, 0) {
		return errors.New("an empty result")
	}
	b, o := permuted(begin, w.perm), permuted(out, w.perm)
	if plain {
		e.result(n, opSlice, w.perm, options{}, w.t, e.ints(b...), e.ints(o...))
		return nil
	}
	end, mask := make([]int, rank), 0
	for i, a := range w.perm {
		if end[i] = b[i] + o[i]*step[a]; end[i] < 0 {
			end[i] = 0
			mask |= 1 << i
		}
	}
	e.result(n, opStridedSlice, w.perm, stridedSliceOptions(0, mask), w.t, e.ints(b...), e.ints(end...), e.ints(permuted(step, w.perm)...))
	return nil
}

func lowerGather(e *emitter, n *ir.Node) error {
	x, idx := n.Operand(0), n.Operand(1)
	rank := len(e.shape(x))
	axis, err := axisOf(n, 0, rank)
	if err != nil {
		return err
	}
	if done, err := e.run(n, axis); done || err != nil {
		return err
	}
	var i *tensor
	if t := e.constant(idx); t != nil { // negative ones count from the back
		l, err := e.intsOf(idx)
		if err != nil {
			return err
		}
		v := make([]int32, len(l))
		for k, a := range l {
			if a < 0 {
				a += int64(e.shape(x)[axis])
			}
			v[k] = int32(a)
		}
		i = e.literal(idx.Name(), typeInt32, e.shape(idx), ir.AsBytes(v))
	} else {
		i = e.as(idx, identity(len(e.shape(idx))))
	}
	perm := identity(rank)
	if len(e.shape(idx)) <= 1 {
		perm = e.view(x).perm
	}
	t := e.op(opGather, n.Result(0).Name(), e.typ(x), gathered(e.shape(x), e.shape(idx), perm, axis), gatherOptions(slices.Index(perm, axis)), e.as(x, perm), i)
	switch len(e.shape(idx)) {
	case 0: // the axis is gone
		perm = without(perm, axis)
	case 1:
	default:
		perm = identity(len(e.shape(n.Result(0))))
	}
	e.define(n.Result(0), t, perm)
	return nil
}

// run writes a Gather of one element or of several that lie behind each other as a SLICE, which XNNPACK takes, and reports whether it could.
func (e *emitter) run(n *ir.Node, axis int) (bool, error) {
	x, idx := n.Operand(0), n.Operand(1)
	in := e.shape(x)
	if e.constant(idx) == nil || len(e.shape(idx)) > 1 || len(in) > 5 { // axes that SLICE has
		return false, nil
	}
	l, err := e.intsOf(idx)
	if err != nil || len(l) == 0 {
		return false, err
	}
	first := l[0]
	for k, a := range l {
		if a < 0 {
			a += int64(in[axis])
		}
		if k == 0 {
			first = a
		}
		if a != first+int64(k) || a < 0 || a >= int64(in[axis]) {
			return false, nil
		}
	}
	w := e.view(x)
	begin, size := make([]int, len(in)), slices.Clone(in)
	begin[axis], size[axis] = int(first), len(l)
	perm, shape := w.perm, permuted(size, w.perm)
	t := e.op(opSlice, n.Result(0).Name(), e.typ(x), shape, options{}, w.t, e.ints(permuted(begin, perm)...), e.ints(shape...))
	if len(e.shape(idx)) == 0 { // the axis is gone
		at := slices.Index(perm, axis)
		t = e.reshape(n.Result(0).Name(), t, slices.Delete(slices.Clone(shape), at, at+1))
		perm = without(perm, axis)
	}
	e.define(n.Result(0), t, perm)
	return true, nil
}

// without is an order of axes after one is gone.
func without(perm []int, axis int) []int {
	left := []int{}
	for _, a := range perm {
		switch {
		case a > axis:
			left = append(left, a-1)
		case a < axis:
			left = append(left, a)
		}
	}
	return left
}

// gathered is the shape of a Gather of x with its axes in the given order.
func gathered(x, idx, perm []int, axis int) []int {
	var r []int
	for _, a := range perm {
		if a == axis {
			r = append(r, idx...)
		} else {
			r = append(r, x[a])
		}
	}
	if r == nil {
		return []int{}
	}
	return r
}

func lowerExpand(e *emitter, n *ir.Node) error {
	x := n.Operand(0)
	rank := len(e.shape(n.Result(0)))
	perm := e.common(rank, x)
	shape := permuted(e.shape(n.Result(0)), perm)
	e.result(n, opBroadcastTo, perm, options{}, e.broadcast(x, rank, perm), e.ints(shape...))
	return nil
}

func lowerTile(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	l, err := e.intsOf(n.Operand(1))
	if err != nil {
		return err
	}
	times := make([]int, len(l))
	for i, x := range l {
		times[i] = int(x)
	}
	e.result(n, opTile, w.perm, options{}, w.t, e.ints(permuted(times, w.perm)...))
	return nil
}

func lowerDepthToSpace(e *emitter, n *ir.Node) error {
	x := n.Operand(0)
	b := int(n.Int("blocksize", 1))
	t := e.as(x, channelsLast(4))
	if n.Str("mode", "DCR") == "CRD" { // the block is the inner part of the channels; outside it is for the target
		c := t.shape[3] / (b * b)
		order := make([]int32, t.shape[3])
		for i := range order {
			order[i] = int32(i%c*b*b + i/c)
		}
		t = e.op(opGather, n.Result(0).Name(), t.typ, t.shape, gatherOptions(3), t, e.literal("order", typeInt32, []int{len(order)}, ir.AsBytes(order)))
	}
	e.result(n, opDepthToSpace, channelsLast(4), blockOptions(opDepthToSpace, b), t)
	return nil
}

func lowerSpaceToDepth(e *emitter, n *ir.Node) error {
	if mode := n.Str("mode", "DCR"); mode != "DCR" {
		return fmt.Errorf("mode %s", mode)
	}
	e.result(n, opSpaceToDepth, channelsLast(4), blockOptions(opSpaceToDepth, int(n.Int("blocksize", 1))), e.as(n.Operand(0), channelsLast(4)))
	return nil
}

func lowerCumSum(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	l, err := e.intsOf(n.Operand(1))
	if err != nil {
		return err
	}
	a := int(l[0])
	if a < 0 {
		a += len(w.perm)
	}
	axis := e.literal("const", typeInt32, []int{}, ir.AsBytes([]int32{int32(slices.Index(w.perm, a))}))
	e.result(n, opCumsum, w.perm, cumsumOptions(n.Int("exclusive", 0) != 0, n.Int("reverse", 0) != 0), w.t, axis)
	return nil
}

// lowerFill writes what ConstantOfShape gives as a constant.
func lowerFill(e *emitter, n *ir.Node) error {
	var value []byte
	typ := typeFloat32
	if a := n.Attr("value"); a != nil {
		t := a.Tensor()
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		if typ, err = typeOf(t.DType()); err != nil {
			return err
		}
		value = b
	} else {
		value = make([]byte, 4)
	}
	shape := e.shape(n.Result(0))
	count := 1
	for _, d := range shape {
		count *= d
	}
	const most = 1 << 31
	if count*len(value) > most {
		return fmt.Errorf("%d elements", count)
	}
	e.define(n.Result(0), e.literal(n.Result(0).Name(), typ, shape, bytes.Repeat(value, count)), identity(len(shape)))
	return nil
}
