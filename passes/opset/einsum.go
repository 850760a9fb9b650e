package opset

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// einsumDown multiplies operands from the left, two at a time, as matrix products over the labels that end with them.
func einsumDown(s *site) {
	s.tolerant()
	terms, result, err := s.equation()
	if err != nil {
		s.refuse("%v", err)
		return
	}
	d := s.needDType(s.in(0))
	if s.why != "" {
		return
	}
	if d.IsInt() {
		s.refuse("a matrix product of %s came later", d)
		return
	}
	x, labels := s.distinct(s.in(0), terms[0])
	for i := 1; i < len(terms); i++ {
		y, other := s.distinct(s.in(i), terms[i])
		later := slices.Concat(append([][]int{result}, terms[i+1:]...)...)
		x, labels = s.contract(x, labels, y, other, later)
	}
	x, labels = s.sumAway(x, labels, result)
	if s.why != "" {
		return
	}
	perm := make([]int64, len(result))
	for i, l := range result {
		perm[i] = int64(slices.Index(labels, l))
	}
	s.replace(s.transpose(x, perm...))
}

// equation is the labels of each operand and of the result. The axes of an ellipsis get negative labels, counted from the last.
func (s *site) equation() (terms [][]int, result []int, err error) {
	text := strings.ReplaceAll(s.str("equation"), " ", "")
	left, right, explicit := strings.Cut(text, "->")
	parts := strings.Split(left, ",")
	if len(parts) != s.n.NumOperands() {
		return nil, nil, fmt.Errorf("equation %q is for %d operands", text, len(parts))
	}
	read := func(term string, ellipsis int) []int {
		var r []int
		for i := 0; i < len(term); i++ {
			if term[i] == '.' {
				for k := ellipsis; k > 0; k-- {
					r = append(r, -k)
				}
				i += 2
				continue
			}
			r = append(r, int(term[i]))
		}
		return r
	}
	widest, count := 0, map[int]int{}
	for i, p := range parts {
		k := 0
		if strings.Contains(p, "...") {
			r := s.rank(s.in(i))
			if r < 0 {
				return nil, nil, fmt.Errorf("the rank of operand %d is not known", i)
			}
			k = r - (len(p) - 3)
			widest = max(widest, k)
		}
		t := read(p, k)
		for _, l := range t {
			count[l]++
		}
		terms = append(terms, t)
	}
	if explicit {
		return terms, read(right, widest), nil
	}
	for k := widest; k > 0; k-- {
		result = append(result, -k)
	}
	for l := range 128 {
		if count[l] == 1 {
			result = append(result, l)
		}
	}
	return terms, result, nil
}

// distinct takes the diagonal along labels that stand twice.
func (s *site) distinct(x *ir.Value, labels []int) (*ir.Value, []int) {
	for i := 0; i < len(labels); i++ {
		j := slices.Index(labels[i+1:], labels[i])
		if j < 0 {
			continue
		}
		j += i + 1
		// The diagonal is picked by a mask of ones, and the other axis is summed.
		n := s.size(x, int64(i))
		at := s.op("Range", s.scalar64(0), n, s.scalar64(1))
		var rows, cols []int64
		for a := range labels {
			if a != i {
				rows = append(rows, int64(a))
			}
			if a != j {
				cols = append(cols, int64(a))
			}
		}
		same := s.op("Equal", s.unsqueeze(at, rows...), s.unsqueeze(at, cols...))
		x = s.reduce("ReduceSum", s.op("Where", same, x, s.like(x, 0)), false, int64(j))
		labels = slices.Delete(slices.Clone(labels), j, j+1)
		i--
	}
	return x, labels
}

// sumAway sums over labels that are not kept.
func (s *site) sumAway(x *ir.Value, labels, keep []int) (*ir.Value, []int) {
	var axes []int64
	var left []int
	for i, l := range labels {
		if slices.Contains(keep, l) {
			left = append(left, l)
		} else {
			axes = append(axes, int64(i))
		}
	}
	if axes == nil {
		return x, labels
	}
	return s.reduce("ReduceSum", x, false, axes...), left
}

// contract is the product of x and y summed over the labels that are not needed later.
func (s *site) contract(x *ir.Value, a []int, y *ir.Value, b []int, later []int) (*ir.Value, []int) {
	x, a = s.sumAway(x, a, slices.Concat(b, later))
	y, b = s.sumAway(y, b, slices.Concat(a, later))
	var batch, sum, rows, cols []int
	for _, l := range a {
		switch {
		case !slices.Contains(b, l):
			rows = append(rows, l)
		case slices.Contains(later, l):
			batch = append(batch, l)
		default:
			sum = append(sum, l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			cols = append(cols, l)
		}
	}
	left, ls := s.grouped(x, a, batch, rows, sum)
	right, rs := s.grouped(y, b, batch, sum, cols)
	z := s.op("MatMul", left, right)
	// Batch axes may broadcast: a shared label of an ellipsis may be of one element in one of them.
	lead := s.slice(s.shapeOf(z), 0, 0, int64(len(batch)), 1)
	labels := slices.Concat(batch, rows, cols)
	return s.keepEmpty(z, s.concat(0, append(append([]*ir.Value{lead}, ls[0]...), rs[1]...)...)), labels
}

// grouped is x, with labels, as [batch..., product of the first group, product of the second], and the sizes of both groups.
func (s *site) grouped(x *ir.Value, labels, batch, first, second []int) (*ir.Value, [2][]*ir.Value) {
	order := slices.Concat(batch, first, second)
	perm := make([]int64, len(order))
	for i, l := range order {
		perm[i] = int64(slices.Index(labels, l))
	}
	var sizes [2][]*ir.Value
	shape := []*ir.Value{}
	for _, l := range batch {
		shape = append(shape, s.dim(x, int64(slices.Index(labels, l))))
	}
	for g, group := range [][]int{first, second} {
		n := s.vec(1)
		for i, l := range group {
			d := s.dim(x, int64(slices.Index(labels, l)))
			sizes[g] = append(sizes[g], d)
			if i == 0 {
				n = d
			} else {
				n = s.op("Mul", n, d)
			}
		}
		shape = append(shape, n)
	}
	return s.keepEmpty(s.transpose(x, perm...), s.concat(0, shape...)), sizes
}
