package reduce

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// sizes makes dimensions smaller: one size everywhere at once, since it is the same channel or step in all places; then that of
// single constants and inputs; then names become numbers.
func (r *reducer) sizes() {
	seen := map[int64]bool{}
	for _, shape := range shapes(r.best.Model) {
		for _, d := range shape {
			seen[d] = true
		}
	}
	var list []int64
	for d := range seen {
		if d > 1 {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b int64) int { return cmp.Compare(b, a) })
	for _, d := range list {
		for _, to := range []int64{1, 2, 3, 4, d / 2} {
			if to < d && r.try(func(m *ir.Model) bool { return resize(m, d, to) }) {
				break
			}
		}
	}
	r.symbols()
}

// shapes are those of constants and inputs.
func shapes(m *ir.Model) [][]int64 {
	var r [][]int64
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			r = append(r, v.Const().Shape())
		}
		for _, s := range g.Inputs() {
			var d []int64
			for _, x := range s.Type().TensorShape() {
				if x.IsStatic() {
					d = append(d, x.Size)
				}
			}
			r = append(r, d)
		}
	}
	return r
}

// resize makes every dimension of one size of another.
func resize(m *ir.Model, from, to int64) bool {
	changed := false
	for _, g := range m.Graphs() {
		for _, v := range slices.Clone(g.Consts()) {
			shape := slices.Clone(v.Const().Shape())
			if !slices.Contains(shape, from) {
				continue
			}
			for i := range shape {
				if shape[i] == from {
					shape[i] = to
				}
			}
			t := crop(v.Const(), shape)
			if t == nil {
				return false
			}
			exchange(v, t)
			changed = true
		}
		for _, list := range [][]*ir.Slot{g.Inputs(), g.Outputs()} {
			for _, s := range list {
				shape := slices.Clone(s.Type().TensorShape())
				for i, d := range shape {
					if d.IsStatic() && d.Size == from {
						shape[i] = ir.Static(to)
						changed = true
					}
				}
				if shape != nil {
					s.SetType(ir.TensorType(s.Type().DType(), shape))
				}
				if t := defaultOf(s); t != nil {
					ints, _ := shape.Ints()
					s.Value().SetDefault(crop(t, ints))
				}
			}
		}
		forgetShapes(g)
	}
	return changed
}

func defaultOf(s *ir.Slot) *ir.Tensor {
	if s.Value() == nil {
		return nil
	}
	return s.Value().Default()
}

// forgetShapes drops recorded types of results.
func forgetShapes(g *ir.Graph) bool {
	changed := false
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Const() == nil && v.Type() != nil {
				v.SetType(nil)
				changed = true
			}
		}
	}
	return changed
}

// exchange makes the constant v another one.
func exchange(v *ir.Value, t *ir.Tensor) {
	w := v.Graph().NamedConst(v.Name(), t)
	v.ReplaceUses(w)
	v.Graph().EraseConst(v)
}

// crop is the first elements of t along each axis; nil for types whose elements are no whole bytes.
func crop(t *ir.Tensor, shape []int64) *ir.Tensor {
	size := t.DType().Bits() / 8
	old := t.Shape()
	if len(old) != len(shape) || t.DType() != ir.String && t.DType().Bits()%8 != 0 {
		return nil
	}
	n := ir.NumElements(shape)
	index := make([]int64, len(shape))
	var from []int64
	for range n {
		at := int64(0)
		for i, k := range index {
			at = at*old[i] + k
		}
		from = append(from, at)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < shape[i] {
				break
			}
			index[i] = 0
		}
	}
	if t.DType() == ir.String {
		s, err := t.Strings()
		if err != nil {
			return nil
		}
		r := make([]string, n)
		for i, at := range from {
			r[i] = s[at]
		}
		return ir.NewStringTensor(shape, r)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil
	}
	r := make([]byte, 0, int(n)*size)
	for _, at := range from {
		r = append(r, b[int(at)*size:int(at+1)*size]...)
	}
	return ir.NewTensor(t.DType(), shape, r)
}

// symbols makes named and unknown dimensions numbers.
func (r *reducer) symbols() {
	for i := range r.best.Model.Main.Inputs() {
		for k := range r.best.Model.Main.Inputs()[i].Type().TensorShape() {
			for _, to := range []int64{1, 2} {
				if r.try(func(m *ir.Model) bool {
					s := m.Main.Inputs()[i]
					shape := slices.Clone(s.Type().TensorShape())
					if shape[k].IsStatic() {
						return false
					}
					shape[k] = ir.Static(to)
					s.SetType(ir.TensorType(s.Type().DType(), shape))
					return true
				}) {
					break
				}
			}
		}
	}
}

// constants makes the elements of constants zeros, or ones, or all like the first.
func (r *reducer) constants() {
	n := 0
	for _, g := range r.best.Model.Graphs() {
		n += len(g.Consts())
	}
	if n == 0 {
		return
	}
	// All that can be at once, then one by one.
	if r.try(func(m *ir.Model) bool { return simplify(m, func(int) bool { return true }, zeros) }) {
		return
	}
	for i := range n {
		for _, to := range []func(*ir.Tensor) *ir.Tensor{zeros, first, rounded} {
			if r.try(func(m *ir.Model) bool { return simplify(m, func(k int) bool { return k == i }, to) }) {
				break
			}
		}
	}
}

// simplify changes the chosen constants, by number, and reports whether one changed.
func simplify(m *ir.Model, chosen func(int) bool, to func(*ir.Tensor) *ir.Tensor) bool {
	changed, k := false, 0
	for _, g := range m.Graphs() {
		for _, v := range slices.Clone(g.Consts()) {
			at := k
			k++
			if !chosen(at) {
				continue
			}
			if v.NumUses() == 0 {
				g.EraseConst(v)
				changed = true
			} else if t := to(v.Const()); t != nil {
				exchange(v, t)
				changed = true
			}
		}
	}
	return changed
}

// zeros is a tensor of zeros, nil if t is one.
func zeros(t *ir.Tensor) *ir.Tensor {
	b, err := t.Bytes()
	if t.DType() == ir.String || err != nil || !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) {
		return nil
	}
	return ir.NewTensor(t.DType(), t.Shape(), make([]byte, len(b)))
}

// first is a tensor of the first element, nil if t is one.
func first(t *ir.Tensor) *ir.Tensor {
	size := t.DType().Bits() / 8
	b, err := t.Bytes()
	if t.DType() == ir.String || err != nil || size == 0 || len(b) < 2*size {
		return nil
	}
	r := bytes.Repeat(b[:size], len(b)/size)
	if bytes.Equal(r, b) {
		return nil
	}
	return ir.NewTensor(t.DType(), t.Shape(), r)
}

// rounded is a tensor of whole numbers, nil if t is one.
func rounded(t *ir.Tensor) *ir.Tensor {
	f, err := ir.Elements[float32](t)
	if t.DType() != ir.Float32 || err != nil {
		return nil
	}
	r := make([]float32, len(f))
	for i, x := range f {
		if r[i] = x; x > -1e6 && x < 1e6 {
			r[i] = float32(int64(x))
		}
	}
	if slices.Equal(r, f) || slices.ContainsFunc(f, func(x float32) bool { return x != x }) {
		return nil
	}
	return ir.TensorOf(r, append(make([]int64, 0), t.Shape()...)...)
}

// types drops what is recorded of intermediate values and outputs.
func (r *reducer) types() {
	r.try(func(m *ir.Model) bool {
		changed := false
		for _, g := range m.Graphs() {
			changed = forgetShapes(g) || changed
		}
		return changed
	})
	for i := range r.best.Model.Main.Outputs() {
		r.try(func(m *ir.Model) bool {
			s := m.Main.Outputs()[i]
			if s.Type().TensorShape() == nil {
				return false
			}
			s.SetType(s.Type().WithoutShapes())
			return true
		})
	}
}

// metadata drops what means nothing to a run, and imports without a use.
func (r *reducer) metadata() {
	r.try(func(m *ir.Model) bool {
		some := m.ProducerName+m.ProducerVersion+m.DomainName != "" || m.Version != 0 || m.Meta != nil
		m.ProducerName, m.ProducerVersion, m.DomainName, m.Version, m.Meta = "", "", "", 0, nil
		for _, g := range m.Graphs() {
			some = some || g.Meta != nil
			g.Meta = nil
			for n := range g.Nodes() {
				if n.Name() != "" || n.Meta() != nil {
					n.SetName("")
					n.SetMeta(nil)
					some = true
				}
			}
		}
		return some
	})
	for _, o := range r.best.Model.Opsets() {
		r.try(func(m *ir.Model) bool {
			if ir.Domain(o.Domain) == "" {
				return false
			}
			m.SetOpset(o.Domain, 0)
			return true
		})
	}
}
