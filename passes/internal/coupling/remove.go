package coupling

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// removal is a set of elements that go.
type removal struct {
	*Graph
	classes map[int32]bool
	memo    map[int32][]int // by axis: how many elements are kept before each, and in all
}

// Selection is a set of units as elements of axes, to count with before anything is removed.
type Selection struct{ removal }

// Select makes a selection.
func (g *Graph) Select(units []*Unit) *Selection {
	r := &Selection{removal{Graph: g, classes: map[int32]bool{}, memo: map[int32][]int{}}}
	for _, u := range units {
		for _, c := range u.classes {
			r.classes[c] = true
		}
	}
	return r
}

// Kept is the number of elements of dimension dim of v that stay, its size if that is known.
func (s *Selection) Kept(v *ir.Value, dim int) (int, bool) {
	a := s.ofValue(v)
	if dim >= len(a) || a[dim] < 0 {
		return 0, false
	}
	return s.count(a[dim]), true
}

// KeptElements lists the elements of a dimension of v that stay; nil if all do.
func (s *Selection) KeptElements(v *ir.Value, dim int) []int {
	a := s.ofValue(v)
	if dim >= len(a) {
		return nil
	}
	return s.keep(a[dim])
}

// KeptOperand lists the elements of a dimension of operand i of n that stay; nil if all do.
func (s *Selection) KeptOperand(n *ir.Node, i, dim int) []int {
	a := s.operand(n, i)
	if dim >= len(a) {
		return nil
	}
	return s.keep(a[dim])
}

// Shape are the sizes of operand i of n before the removal; -1 where it is not known.
func (s *Selection) Shape(n *ir.Node, i int) []int {
	return s.sizes(s.operand(n, i))
}

func (s *Selection) sizes(a []int32) []int {
	r := make([]int, len(a))
	for d, x := range a {
		switch {
		case x == unit:
			r[d] = 1
		case x == unknown:
			r[d] = -1
		default:
			r[d] = s.axes[x].Size
		}
	}
	return r
}

func (r *removal) table(axis int32) []int {
	t, ok := r.memo[axis]
	if !ok {
		a := r.axes[axis]
		t = make([]int, a.Size+1)
		for i := range a.Size {
			t[i+1] = t[i]
			if !r.classes[r.find(r.element(axis, i))] {
				t[i+1]++
			}
		}
		r.memo[axis] = t
	}
	return t
}

// count is the number of elements that stay.
func (r *removal) count(axis int32) int { return r.table(axis)[r.axes[axis].Size] }

// before is the number of elements before i that stay.
func (r *removal) before(axis int32, i int) int { return r.table(axis)[i] }

func (r *removal) gone(axis int32, i int) bool { return r.classes[r.find(r.element(axis, i))] }

// keep lists the elements that stay; nil: all of them.
func (r *removal) keep(axis int32) []int {
	if axis < 0 || r.count(axis) == r.axes[axis].Size {
		return nil
	}
	k := []int{}
	for i := range r.axes[axis].Size {
		if !r.gone(axis, i) {
			k = append(k, i)
		}
	}
	return k
}

// setOperand makes operand i of n a new constant.
func (r *removal) setOperand(n *ir.Node, i int, t *ir.Tensor) {
	name := ""
	for n.NumOperands() <= i {
		n.AddOperand(nil)
	}
	old := n.Operand(i)
	if old.Const() != nil {
		name = old.Name()
	}
	n.SetOperand(i, n.Graph().NamedConst(name, t))
	drop(old)
}

// drop erases a constant that nobody uses any more.
func drop(v *ir.Value) {
	if v == nil || v.NumUses() > 0 || v.Const() == nil {
		return
	}
	if n := v.Node(); n != nil {
		v.Graph().Erase(n)
	} else if v.IsInitializer() {
		v.Graph().EraseConst(v)
	}
}

// Remove takes the units out of the model. The coupling is of the model before and must not be used afterwards. An error, before anything is
// changed, says which dimension would be left without elements.
func (g *Graph) Remove(units []*Unit) error {
	r := &g.Select(units).removal
	for id, a := range g.axes {
		if r.count(int32(id)) == 0 {
			return fmt.Errorf("nothing would be left of dimension %s", a)
		}
	}
	for _, n := range g.model.Main.NodeList() {
		if f := g.fixups[n]; f != nil {
			if err := f(r); err != nil {
				return err
			}
		}
	}
	if err := r.cutConstants(); err != nil {
		return err
	}
	for v, axes := range g.values {
		r.retype(v, axes)
	}
	return nil
}

// retype changes the recorded sizes of a value.
func (r *removal) retype(v *ir.Value, axes []int32) {
	t := v.Type()
	if v.Dead() || v.IsInput() || t.TensorShape() == nil || len(t.TensorShape()) != len(axes) {
		return
	}
	shape := slices.Clone(t.TensorShape())
	touched := false
	for d, a := range axes {
		if a >= 0 && r.count(a) != r.axes[a].Size {
			shape[d], touched = ir.Static(int64(r.count(a))), true
		}
	}
	if touched {
		now := *t
		now.Shape = shape
		v.SetType(&now)
	}
}

// cutConstants gives each use of a constant what is left of it. Uses that lose the same share one.
func (r *removal) cutConstants() error {
	made := map[string]*ir.Value{}
	var uses []ir.Use
	for _, n := range r.model.Main.NodeList() {
		for i := range n.NumOperands() {
			uses = append(uses, ir.Use{Node: n, Index: i})
		}
	}
	for _, u := range uses {
		axes := r.uses[u]
		v := u.Node.Operand(u.Index)
		if axes == nil || v.Const() == nil {
			continue
		}
		keep := make([][]int, len(axes))
		touched := false
		for d, a := range axes {
			keep[d] = r.keep(a)
			touched = touched || keep[d] != nil
		}
		if !touched {
			continue
		}
		key := fmt.Sprint(v.Name(), keep, fmt.Sprintf("%p", v))
		w := made[key]
		if w == nil {
			t, err := Take(v.Const(), keep)
			if err != nil {
				return fmt.Errorf("constant %q: %w", v.Name(), err)
			}
			w = v.Graph().NamedConst(v.Name(), t)
			made[key] = w
		}
		u.Node.SetOperand(u.Index, w)
		drop(v)
	}
	return nil
}

// Take copies the listed elements of each dimension, nil for all of it.
func Take(t *ir.Tensor, keep [][]int) (*ir.Tensor, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	shape := t.Shape()
	now := slices.Clone(shape)
	for d, k := range keep {
		if k == nil {
			continue
		}
		inner := t.DType().ByteLen(ir.NumElements(shape[d+1:]))
		outer := ir.NumElements(now[:d])
		out := make([]byte, 0, outer*inner*int64(len(k)))
		row := inner * shape[d]
		for o := range outer {
			for _, i := range k {
				at := o*row + int64(i)*inner
				out = append(out, b[at:at+inner]...)
			}
		}
		b, now[d] = out, int64(len(k))
	}
	return ir.NewTensor(t.DType(), now, b), nil
}

// Dims are the sizes of v before the removal; -1 where one is not known.
func (s *Selection) Dims(v *ir.Value) []int {
	return s.sizes(s.ofValue(v))
}
