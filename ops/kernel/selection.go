package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// ranked is what the operators that order elements along an axis need to know of an element type.
type ranked interface {
	argExtreme(outer, n, inner int, greatest, last bool) []int64
	order(at, n, step int, largest bool) []int
	compare(i, j, n int) int
}

// values orders elements of one type. NaN counts as greater than everything.
type values[T cmp.Ordered] []T

// ranks views the elements of t as ranked.
func ranks(c *Call, t *ir.Tensor) (ranked, error) {
	switch computeType(t.DType()) {
	case ir.Float32:
		return ranksAs[float32](t)
	case ir.Float64:
		return ranksAs[float64](t)
	case ir.Int8:
		return ranksAs[int8](t)
	case ir.Int16:
		return ranksAs[int16](t)
	case ir.Int32:
		return ranksAs[int32](t)
	case ir.Int64:
		return ranksAs[int64](t)
	case ir.Uint8:
		return ranksAs[uint8](t)
	case ir.Uint16:
		return ranksAs[uint16](t)
	case ir.Uint32:
		return ranksAs[uint32](t)
	case ir.Uint64:
		return ranksAs[uint64](t)
	case ir.String:
		s, err := t.Strings()
		return values[string](s), err
	}
	return nil, c.badType(t.DType())
}

func ranksAs[T ordered](t *ir.Tensor) (ranked, error) {
	v, err := load[T](t)
	return values[T](v), err
}

// above reports whether a ranks above b.
func above[T cmp.Ordered](a, b T) bool { return a > b || a != a && b == b }

func (v values[T]) argExtreme(outer, n, inner int, greatest, last bool) []int64 {
	r := make([]int64, 0, outer*inner)
	for o := range outer {
		for i := range inner {
			at, best := o*n*inner+i, 0
			for k := 1; k < n; k++ {
				x, y := v[at+k*inner], v[at+best*inner]
				better := above(x, y)
				if !greatest {
					better = y == y && (x < y || x != x) // NaN wins here, too, as in NumPy
				}
				if better || last && x == y {
					best = k
				}
			}
			r = append(r, int64(best))
		}
	}
	return r
}

func (v values[T]) order(at, n, step int, largest bool) []int {
	idx := make([]int, n)
	for i := range idx {
		idx[i] = i
	}
	slices.SortStableFunc(idx, func(i, j int) int {
		a, b := v[at+i*step], v[at+j*step]
		if !largest {
			a, b = b, a
		}
		switch {
		case above(a, b):
			return -1
		case above(b, a):
			return 1
		}
		return 0
	})
	return idx
}

// compare orders blocks of n elements lexicographically.
func (v values[T]) compare(i, j, n int) int {
	return slices.CompareFunc(v[i*n:(i+1)*n], v[j*n:(j+1)*n], func(a, b T) int {
		switch {
		case above(a, b):
			return 1
		case above(b, a):
			return -1
		}
		return 0
	})
}

func argMaxOp(c *Call) ([]ir.Datum, error) { return argExtreme(c, true) }
func argMinOp(c *Call) ([]ir.Datum, error) { return argExtreme(c, false) }

// argExtreme is the index of the greatest or smallest element along an axis; of several the first, or the last if asked.
func argExtreme(c *Call, greatest bool) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.DType() == ir.String {
		return nil, c.badType(ir.String)
	}
	axis, err := axisOf(c.int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	v, err := ranks(c, x)
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	shape := withAxis(s, axis, 1)
	if s[axis] == 0 && product(shape) > 0 {
		return nil, errors.New("no elements along the axis")
	}
	if err := c.reserve(int64(product(shape)), 8); err != nil {
		return nil, err
	}
	r := []int64{}
	if x.Len() > 0 {
		r = v.argExtreme(product(s[:axis]), int(s[axis]), product(s[axis+1:]), greatest, c.int("select_last_index", 0) != 0)
	}
	if c.int("keepdims", 1) == 0 {
		shape = slices.Delete(shape, axis, axis+1)
	}
	return one(ir.TensorOf(r, shape...), c.tick(int(x.Len())))
}

// topKOp gives the k greatest or smallest elements along an axis and their indices, in order; equal ones by rising index.
func topKOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	k := c.int("k", 0)
	if c.Opset >= 10 {
		var ok bool
		if k, ok, err = c.scalarInt(1); err != nil || !ok {
			return nil, errors.Join(err, errors.New("K is not one integer"))
		}
	}
	axis, err := axisOf(c.int("axis", -1), x.Rank())
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	if k < 0 || k > s[axis] {
		return nil, fmt.Errorf("the first %d of %d", k, s[axis])
	}
	v, err := ranks(c, x)
	if err != nil {
		return nil, err
	}
	shape := withAxis(s, axis, k)
	idx, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	n, inner, largest := int(s[axis]), product(s[axis+1:]), c.int("largest", 1) != 0
	pos := make([]int, len(idx))
	for o := 0; o < product(s[:axis]) && len(idx) > 0; o++ {
		for i := range inner {
			at := o*n*inner + i
			for j, p := range v.order(at, n, inner, largest)[:k] {
				to := (o*int(k)+j)*inner + i
				idx[to], pos[to] = int64(p), at+p*inner
			}
			if err := c.tick(64 * n); err != nil {
				return nil, err
			}
		}
	}
	t, err := gatherBlocks(c, x, shape, pos, 1)
	if err != nil {
		return nil, err
	}
	return []ir.Datum{t, ir.TensorOf(idx, shape...)}, nil
}

// uniqueOp gives the distinct elements, or slices along an axis, in rising order or that of their first occurrence; where each
// occurs first; which one each operand's is; and how many there are.
func uniqueOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	axis, flat := 0, x
	if a := c.Attr("axis"); a == nil {
		flat = x.Reshape([]int64{x.Len()})
	} else if axis, err = axisOf(a.Int(), x.Rank()); err != nil {
		return nil, err
	}
	// Bring the axis to the front, so that each candidate is a block.
	perm := []int64{int64(axis)}
	for i := range flat.Rank() {
		if i != axis {
			perm = append(perm, int64(i))
		}
	}
	front, err := transpose(c, flat, perm)
	if err != nil {
		return nil, err
	}
	v, err := ranks(c, front)
	if err != nil {
		return nil, err
	}
	n, block := int(front.Shape()[0]), product(front.Shape()[1:])
	if err := c.reserve(int64(n), 64); err != nil {
		return nil, err
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return v.compare(i, j, block) })
	first, inverse, counts := []int64{}, make([]int64, n), []int64{}
	for k, i := range order {
		if k == 0 || v.compare(order[k-1], i, block) != 0 {
			first, counts = append(first, int64(i)), append(counts, 0)
		}
		inverse[i] = int64(len(first) - 1)
		counts[len(counts)-1]++
	}
	if c.int("sorted", 1) == 0 {
		first, counts = byFirst(first, counts, inverse)
	}
	idx := make([][]int, flat.Rank())
	for i, d := range flat.Shape() {
		for j := range int(d) {
			if i != axis {
				idx[i] = append(idx[i], j)
			}
		}
	}
	for _, f := range first {
		idx[axis] = append(idx[axis], int(f))
	}
	src, err := open(flat)
	if err != nil {
		return nil, err
	}
	y, err := gatherAxes(c, src, flat.Shape(), idx, nil)
	return []ir.Datum{y, ir.TensorOf(first), ir.TensorOf(inverse), ir.TensorOf(counts)}, err
}

// byFirst reorders the groups by where they occur first and renumbers inverse.
func byFirst(first, counts, inverse []int64) (f, n []int64) {
	order := make([]int, len(first))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(first[i], first[j]) })
	to := make([]int64, len(order))
	f, n = []int64{}, []int64{}
	for k, i := range order {
		to[i] = int64(k)
		f, n = append(f, first[i]), append(n, counts[i])
	}
	for i, g := range inverse {
		inverse[i] = to[g]
	}
	return f, n
}

func cumSumOp(c *Call) ([]ir.Datum, error)  { return cumulative(c, kindAdd) }
func cumProdOp(c *Call) ([]ir.Datum, error) { return cumulative(c, kindMul) }

// cumulative folds elements along the axis that operand 1 names, in either direction, each element included or not.
func cumulative(c *Call, k binaryKind) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	a, ok, err := c.scalarInt(1)
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("the axis is not one integer"))
	}
	axis, err := axisOf(a, x.Rank())
	if err != nil {
		return nil, err
	}
	switch x.DType() {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return cumulativeAs[float32](c, x, axis, k)
	case ir.Float64:
		return cumulativeAs[float64](c, x, axis, k)
	case ir.Int32:
		return cumulativeAs[int32](c, x, axis, k)
	case ir.Int64:
		return cumulativeAs[int64](c, x, axis, k)
	case ir.Uint32:
		return cumulativeAs[uint32](c, x, axis, k)
	case ir.Uint64:
		return cumulativeAs[uint64](c, x, axis, k)
	}
	return nil, c.badType(x.DType())
}

func cumulativeAs[T ordered](c *Call, x *ir.Tensor, axis int, k binaryKind) ([]ir.Datum, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[T](c, x.Shape())
	if err != nil || len(r) == 0 {
		return one(pack(x.DType(), x.Shape(), r), err)
	}
	f := binaryFunc[T](k, x.DType(), nil)
	exclusive, reverse := c.int("exclusive", 0) != 0, c.int("reverse", 0) != 0
	n, inner := int(x.Shape()[axis]), product(x.Shape()[axis+1:])
	for o := range product(x.Shape()[:axis]) {
		for i := range inner {
			var acc T
			if k == kindMul {
				acc = 1
			}
			for j := range n {
				at := j
				if reverse {
					at = n - 1 - j
				}
				at = (o*n+at)*inner + i
				next := f(acc, v[at])
				if r[at] = next; exclusive {
					r[at] = acc
				}
				acc = next
			}
		}
		if err := c.tick(4 * n * inner); err != nil {
			return nil, err
		}
	}
	return one(pack(x.DType(), x.Shape(), r), nil)
}
