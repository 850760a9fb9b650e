package spelled

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Rotary is rotary position embedding (Su et al. 2021): each pair of elements of a head is turned by an angle of its position. Hugging Face's
// models of the Llama, Qwen and GPT-NeoX families pair the first half of a head with the second, and torch.onnx, by TorchScript and by dynamo,
// writes for queries and for keys
//
//	x ─┬─────────────────────────────────────── Mul cos ── Add ──
//	   ├─ Slice second half ── Neg ─┬─ Concat ── Mul sin ──┘
//	   └─ Slice first half ─────────┘
//
// with Split for the two slices. Cosines and sines stand twice in a row, and come from a table or are computed:
//
//	positions ── Gather of a constant [positions,size] ── Unsqueeze ──
//	angles [batch,length,size/2] ── Concat with itself ── Cos ── (Mul scaling) ── Unsqueeze ──
//
// GPT-J, RoFormer and Cohere pair neighbours, and have every cosine twice in succession:
//
//	x ─┬──────────────────────────────────────────────────────────── Mul cos ── Add ──
//	   ├─ Slice odd ── Neg ── Unsqueeze ─┬─ Concat ── Reshape ── Mul sin ──┘
//	   └─ Slice even ─────── Unsqueeze ──┘
//
// Implementations that keep the halves apart, as GPT-OSS and Meta's own, have every cosine once:
//
//	x ─┬─ Slice first half ──┬─ Mul cos ── Sub ── Concat ──
//	   │                     └─ Mul sin ──│── Add ──┘
//	   └─ Slice second half ─┬─ Mul sin ──┘    │
//	                         └─ Mul cos ───────┘
//
// The operands are x, cos and sin and the root z.
func Rotary() []string {
	var r []string
	for _, half := range halves {
		for _, angles := range []string{
			"cg: shared = Gather <axis = 0> (cc: const, ids)\ncos: shared = Unsqueeze (cg, ca: const)\n" +
				"sg: shared = Gather <axis = 0> (sc: const, ids)\nsin: shared = Unsqueeze (sg, sa: const)\n",
			"e: shared = Concat <axis = @ea> (f, f)\nc0: shared = Cos (e)\ncos: shared = Unsqueeze (c0, ca: const)\n" +
				"s0: shared = Sin (e)\nsin: shared = Unsqueeze (s0, sa: const)\n",
			"e: shared = Concat <axis = @ea> (f, f)\nc0: shared = Cos (e)\ncm: shared = Mul (c0, cscale: scalar)\ncos: shared = Unsqueeze (cm, ca: const)\n" +
				"s0: shared = Sin (e)\nsm: shared = Mul (s0, sscale: scalar)\nsin: shared = Unsqueeze (sm, sa: const)\n",
			"",
		} {
			r = append(r, angles+half+"n = Neg (x2)\nr = Concat <axis = @axis> (n, x1)\na = Mul (x, cos)\nb = Mul (r, sin)\nz = Add (a, b)")
		}
	}
	r = append(r, slices2+"n = Neg (x2)\nu = Unsqueeze (n, ua: const)\nv = Unsqueeze (x1, va: const)\nw = Concat <axis = @axis> (u, v)\nr = Reshape <...> (w, rs)\n"+
		"a = Mul (x, cos)\nb = Mul (r, sin)\nz = Add (a, b)")
	for _, half := range halves {
		r = append(r, half+"a = Mul (x1, cos)\nb = Mul (x2, sin)\np = Sub (a, b)\nc = Mul (x2, cos)\nd = Mul (x1, sin)\nq = Add (c, d)\nz = Concat <axis = @axis> (p, q)")
	}
	return r
}

const slices2 = "x1: shared = Slice (x, b1: const, e1: const, a1: const, t1?: const)\nx2: shared = Slice (x, b2: const, e2: const, a2: const, t2?: const)\n"

// halves are the ways to take x1 and x2 out of x.
var halves = []string{slices2, "x1: shared, x2: shared = Split <...> (x, sizes?)\n"}

// PartialRotary is a rotation of the first elements of each head, as GPT-NeoX, Phi and StableLM have it: op is the rotation and its operands.
//
//	x ─┬─ Slice ── rotation ── Concat ──
//	   └─ Slice ─────────────────┘
func PartialRotary(op string) []string {
	var r []string
	for _, parts := range halves {
		r = append(r, parts+"y = "+op+"\nz = Concat <axis = @axis> (y, x2)")
	}
	return r
}

// Turn is what a match of Rotary is.
type Turn struct {
	Size        int64 // of a head
	Interleaved bool  // neighbours are pairs, not halves
	Heads       int64 // their number if x is of [batch,length,heads,size], 0 if it is of [batch,heads,length,size]
	Once        bool  // cosines and sines have Size/2 columns
	// OneBatch says that cosines and sines are of one batch, as x surely is if SameBatch.
	OneBatch, SameBatch bool
	X                   []infer.Int
}

// Tables remembers of constants whether they hold every angle twice, so that a table is read once for all layers.
type Tables map[table]bool

type table struct {
	t       *ir.Tensor
	columns int64
	pairs   bool
}

// ReadRotary reads a match of Rotary, or says why it is none.
func ReadRotary(m *rewrite.Match, tables Tables) (*Turn, error) {
	for _, name := range []string{"x", "cos", "sin"} {
		if d := m.DType(name); d != ir.Float32 {
			return nil, fmt.Errorf("%s is of type %s, not surely float", name, d)
		}
	}
	t := &Turn{Interleaved: m.Has("w"), Once: m.Has("q")}
	var ok bool
	if t.X, ok = m.Dims("x"); !ok || len(t.X) != 4 {
		return nil, fmt.Errorf("x is a %s, not surely of four axes", m.Type("x"))
	}
	if t.Size, ok = t.X[3].Const(); !ok || t.Size < 2 || t.Size%2 != 0 {
		return nil, fmt.Errorf("x is a %s, whose last axis is not surely even", m.Type("x"))
	}
	if err := t.parts(m); err != nil {
		return nil, err
	}
	if err := t.angles(m); err != nil {
		return nil, err
	}
	if err := t.shapes(m); err != nil || t.Once {
		return t, err
	}
	for _, name := range []string{"cos", "sin"} {
		if !t.twice(m, tables, m.Value(name)) {
			return nil, fmt.Errorf("%s does not surely hold every angle twice", name)
		}
	}
	return t, nil
}

// parts checks what x1 and x2 are, and how they come together.
func (t *Turn) parts(m *rewrite.Match) error {
	last := func(name string, rank int) bool {
		axis := m.Attr(name).Int()
		return axis == -1 || axis == int64(rank)-1
	}
	if t.Interleaved {
		w, ok := m.Dims("w")
		r, ok2 := m.Dims("r")
		u, ok3 := m.Dims("u")
		if !ok || !ok2 || !ok3 || len(w) != 5 || len(r) != 4 || !w[3].Is(t.Size/2) || !w[4].Is(2) || !u[4].Is(1) || !last("axis", 5) || !sameDims(r, t.X) || !sameDims(w[:3], t.X[:3]) {
			return fmt.Errorf("the pairs are a %s that becomes a %s, not surely [...,size/2,2] that becomes x", m.Type("w"), m.Type("r"))
		}
		if !cut(m, "x1", "1", 0, 2, t.Size) || !cut(m, "x2", "2", 1, 2, t.Size) {
			return errors.New("the parts are not the even and the odd elements")
		}
		return nil
	}
	if !last("axis", 4) || m.Has("e") && !last("ea", 3) {
		return errors.New("the halves are not put together along the last axis")
	}
	return Parts(m, t.Size/2, t.Size)
}

// Parts says why x1 and x2 are not surely the elements before and from place at on of the last axis of x, which has size.
func Parts(m *rewrite.Match, at, size int64) error {
	x1, ok := m.Dims("x1")
	x2, ok2 := m.Dims("x2")
	if !ok || !ok2 || len(x1) == 0 || !x1[len(x1)-1].Is(at) || !x2[len(x2)-1].Is(size-at) {
		return fmt.Errorf("x1 is a %s and x2 a %s, not surely [...,%d] and [...,%d]", m.Type("x1"), m.Type("x2"), at, size-at)
	}
	if m.Has("b1") && (!cut(m, "x1", "1", 0, 1, size) || !cut(m, "x2", "2", at, 1, size)) {
		return fmt.Errorf("the slices are not before and from element %d on", at)
	}
	return nil // those of Split can only be along the axis whose size they change, in this order
}

// cut reports whether the Slice whose operands end in suffix takes each step-th element from place on, along the last axis alone. How many
// it takes is for the caller to see by its size.
func cut(m *rewrite.Match, name, suffix string, from, step, size int64) bool {
	one := func(operand string) (int64, bool) {
		v, ok, err := rewrite.Ints(m.Const(operand + suffix))
		m.Fail(err)
		if !ok || len(v) != 1 {
			return 0, false
		}
		return v[0], true
	}
	start, ok := one("b")
	axis, ok2 := one("a")
	stride, ok3 := int64(1), true
	if m.Has("t" + suffix) {
		stride, ok3 = one("t")
	}
	d, ok4 := m.Dims(name)
	if start < 0 {
		start += size
	}
	return ok && ok2 && ok3 && ok4 && start == from && (axis == -1 || axis == int64(len(d))-1) && stride == step && (step == 1 || d[len(d)-1].Is(size/step))
}

// angles reads the layout of x off the sizes of the cosines, which end in [length,size], with 1 in place of the heads.
func (t *Turn) angles(m *rewrite.Match) error {
	c, ok := m.Dims("cos")
	s, ok2 := m.Dims("sin")
	columns := t.Size
	if t.Once {
		columns /= 2
	}
	if !ok || !ok2 || len(c) < 2 || len(c) > 4 || !sameDims(c, s) || !c[len(c)-1].Is(columns) {
		return fmt.Errorf("the cosines are a %s and the sines a %s, not surely of %d columns", m.Type("cos"), m.Type("sin"), columns)
	}
	for len(c) < 4 {
		c = append([]infer.Int{infer.Num(1)}, c...)
	}
	heads, known := t.X[2].Const()
	switch {
	case c[1].Is(1) && c[2].Same(t.X[2]):
	case c[2].Is(1) && c[1].Same(t.X[1]) && known && heads > 0:
		t.Heads = heads
	default:
		return fmt.Errorf("the cosines are a %s for a %s, not surely one row a position", m.Type("cos"), m.Type("x"))
	}
	t.OneBatch, t.SameBatch = c[0].Is(1), c[0].Same(t.X[0])
	if !t.OneBatch && !t.SameBatch {
		return fmt.Errorf("the cosines are a %s for a %s, not surely of its batch", m.Type("cos"), m.Type("x"))
	}
	return nil
}

// Length is the number of vectors of a sequence.
func (t *Turn) Length() infer.Int {
	if t.Heads > 0 {
		return t.X[1]
	}
	return t.X[2]
}

func sameDims(a, b []infer.Int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Same(b[i]) {
			return false
		}
	}
	return true
}

// ReadPartial reads a match of PartialRotary: the sizes of x, [batch,heads,length,size], and how many elements of a head are turned.
func ReadPartial(m *rewrite.Match) (x []infer.Int, dim int64, err error) {
	x, ok := m.Dims("x")
	x1, ok2 := m.Dims("x1")
	if !ok || !ok2 || len(x) != 4 || len(x1) != 4 || m.DType("x") != ir.Float32 {
		return nil, 0, fmt.Errorf("x is a %s, not surely float of four axes", m.Type("x"))
	}
	size, ok := x[3].Const()
	dim, ok2 = x1[3].Const()
	axis := m.Attr("axis").Int()
	if !ok || !ok2 || dim < 2 || dim%2 != 0 || dim >= size || axis != -1 && axis != 3 {
		return nil, 0, fmt.Errorf("what is turned is a %s of a %s, not surely an even number of elements of each head", m.Type("x1"), m.Type("x"))
	}
	return x, dim, Parts(m, dim, size)
}
