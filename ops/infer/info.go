package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// info is what is known of a value.
type info struct {
	kind         ir.TypeKind // KindNone: nothing is known
	elem         ir.DType    // tensor, sparse: element type; map: key type; Undefined if unknown
	ranked       bool        // dims is known; a scalar has none
	dims         []Int       // each entry is known, as an expression at least
	of           *info       // element of a sequence or optional, value of a map
	never        bool        // there is no value of this kind: it is the element of a sequence that is empty
	domain, name string      // opaque
	data         []elem      // elements in row-major order, nil if nothing is known of them
	tensor       *ir.Tensor  // the constant the value is, nil if it is none
	loaded       bool        // data was taken from tensor
	exported     *ir.Type
}

// elem is one element of a small tensor: an integer (bools are 0 and 1), or a number that is none. Integral floating-point elements are
// kept as integers, so that size arithmetic in floating point stays symbolic; sizes are taken to be exact in float and double.
type elem struct {
	Int
	frac  float64
	isNum bool // frac counts: the element is the number frac, which is no integer
	size  bool // the element is a dimension of some tensor, hence not negative even where its expression does not show it
}

// maxData is the largest number of elements that are tracked; of floating-point tensors, which rarely take part in shape arithmetic,
// fewer are.
const (
	maxData  = 1024
	maxFloat = 64
)

// small reports whether the elements of a tensor of n elements of type d are tracked.
func small(d ir.DType, n int64) bool {
	return n >= 0 && tracked(d) && n <= maxData && (n <= maxFloat || !d.IsFloat())
}

func tensorInfo(d ir.DType, dims []Int) *info {
	return &info{kind: ir.KindTensor, elem: d, ranked: dims != nil, dims: dims}
}

// withoutShape is x as far as its type goes without any size or content.
func (x *info) withoutShape() *info {
	if x == nil {
		return nil
	}
	return &info{kind: x.kind, elem: x.elem, of: x.of.withoutShape(), domain: x.domain, name: x.name}
}

// withoutData is x without its content.
func (x *info) withoutData() *info {
	if x == nil || x.data == nil && x.tensor == nil {
		return x
	}
	y := *x
	y.data, y.tensor, y.loaded = nil, nil, false
	return &y
}

func constInfo(t *ir.Tensor) *info {
	x := tensorInfo(t.DType(), make([]Int, 0, t.Rank()))
	for _, d := range t.Shape() {
		x.dims = append(x.dims, Num(d))
	}
	x.tensor = t
	return x
}

// constants makes what is known of constants, which share their lists of dimensions where one nearby has the same.
type constants struct {
	dims [8][]Int
	next int
}

func (c *constants) info(t *ir.Tensor) *info {
	x := &info{kind: ir.KindTensor, elem: t.DType(), ranked: true, tensor: t}
	shape := t.Shape()
	for _, d := range c.dims {
		if d != nil && slices.EqualFunc(d, shape, func(d Int, n int64) bool { return d.c == n }) {
			x.dims = d
			return x
		}
	}
	x.dims = constInfo(t).dims
	c.dims[c.next%len(c.dims)] = x.dims
	c.next++
	return x
}

// fromType is what a recorded type states. size makes the size of a dimension.
func fromType(t *ir.Type, size func(ir.Dim) Int) *info {
	if t == nil {
		return nil
	}
	x := &info{kind: t.Kind, elem: t.Elem, of: fromType(t.Of, size), domain: t.Domain, name: t.Name}
	if t.Shape != nil && (t.Kind == ir.KindTensor || t.Kind == ir.KindSparse) {
		x.ranked, x.dims = true, make([]Int, len(t.Shape))
		for i, d := range t.Shape {
			x.dims[i] = size(d)
		}
	}
	return x
}

// typ is x as a type. Sizes without a name in the model are unknown dimensions; r.reserved holds names that the model gave and that an
// expression must not be mistaken for.
func (x *info) typ(r *Result) *ir.Type {
	if x == nil || x.kind == ir.KindNone {
		return nil
	}
	if x.exported == nil {
		t := ir.Type{Kind: x.kind, Elem: x.elem, Of: x.of.typ(r), Domain: x.domain, Name: x.name}
		if x.ranked {
			if r.shape == nil {
				r.shape = make(ir.Shape, 0, 8)
			}
			t.Shape = r.shape[:0]
			for _, d := range x.dims {
				t.Shape = append(t.Shape, exportDim(d, r.reserved))
			}
		}
		x.exported = r.types.shared(t)
	}
	return x.exported
}

// recent are the types that were last exported: most values have the type of one nearby.
type recent struct {
	types [8]*ir.Type
	next  int
}

// shared is one of the recent types that equals t, or a copy of t.
func (r *recent) shared(t ir.Type) *ir.Type {
	for _, u := range r.types {
		if u != nil && u.Kind == t.Kind && u.Elem == t.Elem && u.Of == t.Of && u.Domain == t.Domain && u.Name == t.Name &&
			(u.Shape == nil) == (t.Shape == nil) && slices.Equal(u.Shape, t.Shape) {
			return u
		}
	}
	if t.Shape != nil {
		t.Shape = append(make(ir.Shape, 0, len(t.Shape)), t.Shape...)
	}
	u := t
	r.types[r.next%len(r.types)] = &u
	r.next++
	return &u
}

func exportDim(d Int, reserved map[string]bool) ir.Dim {
	if n, ok := d.Const(); ok && n >= 0 {
		return ir.Static(n)
	}
	if a := d.lone(); a != nil && a.symbol != "" {
		return ir.Symbol(a.symbol)
	}
	if !d.known || d.private() || len(d.terms) == 0 {
		return ir.UnknownDim()
	}
	s := d.String()
	if reserved[s] {
		return ir.UnknownDim()
	}
	return ir.Symbol(s)
}

// states reports whether x is what t records, expressions in their canonical spelling included.
func (x *info) states(t *ir.Type) bool {
	if x == nil || x.kind != t.Kind || x.elem != t.Elem || x.ranked != (t.Shape != nil) || len(x.dims) != len(t.Shape) || x.kind != ir.KindTensor {
		return false
	}
	for i, d := range t.Shape {
		y := x.dims[i]
		if n, number := y.Const(); number != d.IsStatic() || number && n != d.Size || !number && (d.Param == "" || y.private()) {
			return false
		}
		if a := y.lone(); d.Param != "" && !(a != nil && a.symbol == d.Param) && y.String() != d.Param {
			return false
		}
	}
	return true
}

// sizes are the dimensions if all are numbers.
func (x *info) sizes() ([]int64, bool) {
	if x == nil || !x.ranked {
		return nil, false
	}
	r := make([]int64, len(x.dims))
	for i, d := range x.dims {
		n, ok := d.Const()
		if !ok {
			return nil, false
		}
		r[i] = n
	}
	return r, true
}

// count is the number of elements, unknown if the rank is.
func (x *info) count() Int {
	if x == nil || !x.ranked {
		return Int{}
	}
	return product(x.dims)
}

func product(dims []Int) Int {
	n := Num(1)
	for _, d := range dims {
		n = n.Mul(d)
	}
	return n
}

// content are the elements of x if they are tracked. Those of a constant are read when first asked for.
func (x *info) content() []elem {
	if x == nil {
		return nil
	}
	if x.data == nil && x.tensor != nil && !x.loaded {
		x.loaded = true
		x.data = loadElems(x.tensor)
	}
	return x.data
}

// sameType reports whether x and y state the same type with surely equal sizes.
func (x *info) sameType(y *info) bool {
	if x == nil || y == nil {
		return x == y
	}
	return x.kind == y.kind && x.elem == y.elem && x.never == y.never && x.ranked == y.ranked && x.domain == y.domain && x.name == y.name &&
		slices.EqualFunc(x.dims, y.dims, Int.Same) && x.of.sameType(y.of)
}
