package spelled

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Attention is scaled dot-product attention of several heads (Vaswani et al. 2017), softmax(Q·Kᵀ·scale + mask)·V for each head. torch.onnx, tf2onnx
// and PaddlePaddle write, after simplification,
//
//	q ── Reshape ── Transpose 0213 ── MatMul ── Div ── Add mask ── Softmax ── MatMul ── Transpose 0213 ── Reshape ──
//	k ── Reshape ── Transpose 0231 ───┘                                       │
//	v ── Reshape ── Transpose 0213 ───────────────────────────────────────────┘
//
// with q, k and v of [batch, length, heads*size]. Keys and values with a past in front are of [batch, heads, length, size] already:
//
//	k ── Transpose 0132 ── MatMul   and   v ── MatMul
//
// Q, K and V of one projection, x of [batch, length, 3*heads*size], as ViT has it, are
//
//	x ── Reshape [batch,length,3,heads,size] ── Transpose 20314 ─┬─ Gather 0 ──
//	                                                            ├─ Gather 1 ── Transpose 0132 ──
//	                                                            └─ Gather 2 ──
//
// The scale may stand behind the first product, or before it at Q, or its root at Q and K, as torch.onnx writes scaled_dot_product_attention, or
// be missing. The mask is added, or, as GPT-2 has it, chosen:
//
//	Where (seen, scores, lowest)
//
// The operands are q, k and v, or x, the root z.
func Attention() []string {
	var r []string
	const query = "qr = Reshape <...> (q, qs)\nqt = Transpose <perm = [0,2,1,3]> (qr)\n"
	for _, qkv := range [][2]string{
		{query + "kr = Reshape <...> (k, ks)\nkt = Transpose <perm = [0,2,3,1]> (kr)\nvr = Reshape <...> (v, vs)\nvt = Transpose <perm = [0,2,1,3]> (vr)\n", "vt"},
		{query + "kt = Transpose <perm = [0,1,3,2]> (k)\n", "v"},
		{"xr = Reshape <...> (x, xs)\nxt: shared = Transpose <perm = [2,0,3,1,4]> (xr)\nqt = Gather <axis = 0> (xt, iq: scalar)\n" +
			"kg = Gather <axis = 0> (xt, ik: scalar)\nkt = Transpose <perm = [0,1,3,2]> (kg)\nvt = Gather <axis = 0> (xt, iv: scalar)\n", "vt"},
	} {
		for _, middle := range scores(qkv[1]) {
			r = append(r, qkv[0]+middle+"ot = Transpose <perm = [0,2,1,3]> (o)\nz = Reshape <...> (ot, zs)")
		}
	}
	return r
}

// scores are the ways from qt and kt by the scale, mask and softmax to the product o with v.
func scores(v string) []string {
	var r []string
	for _, scale := range []string{
		"s0 = MatMul (qt, kt)\ns1 = {Div, Mul} (s0, after: scalar)\n",
		"q0 = {Div, Mul} (qt, before: scalar)\ns1 = MatMul (q0, kt)\n",
		"q0 = {Div, Mul} (qt, before: scalar)\nk0 = {Div, Mul} (kt, beside: scalar)\ns1 = MatMul (q0, k0)\n",
		"s1 = MatMul (qt, kt)\n",
	} {
		for _, mask := range [][2]string{
			{"s2 = Add (s1, mask)\n", "s2"},
			{"s2 = Where (seen, s1, lowest: scalar)\ns3 = Add (s2, mask)\n", "s3"},
			{"s2 = Where (seen, s1, lowest: scalar)\n", "s2"},
			{"", "s1"},
		} {
			r = append(r, scale+mask[0]+"p = Softmax <axis = @axis> ("+mask[1]+")\no = MatMul (p, "+v+")\n")
		}
	}
	return r
}

// HeadsApart is attention whose queries, keys and values have their heads before the length already, qt, k and v of [batch, heads, length,
// size], as behind a rotation of positions or a past of keys and values. Heads of keys and values may serve groups of those of queries
// (Ainslie et al. 2023), for which Hugging Face's repeat_kv repeats them:
//
//	q ─────────────────────────────────────────────── MatMul ── Mul ── Add mask ── Softmax ── MatMul ──
//	k ── (Unsqueeze ── Expand ── Reshape) ── Transpose ─┘                                        │
//	v ── (Unsqueeze ── Expand ── Reshape) ───────────────────────────────────────────────────────┘
//
// or Gather for the three, as pass repeats writes it. The operands are qt, k and v and the root o.
func HeadsApart() []string {
	r := HeadsShared()
	for _, middle := range scores("v") {
		r = append(r, "kt = Transpose <perm = [0,1,3,2]> (k)\n"+middle)
	}
	return r
}

// HeadsShared is HeadsApart with repeated heads alone.
func HeadsShared() []string {
	var r []string
	for _, repeated := range []string{
		"ku = Unsqueeze (k, 2)\nke = Expand (ku, kes)\nkr = Reshape <...> (ke, krs)\nkt = Transpose <perm = [0,1,3,2]> (kr)\n" +
			"vu = Unsqueeze (v, 2)\nve = Expand (vu, ves)\nvr = Reshape <...> (ve, vrs)\n",
		"kr = Gather <axis = 1> (k, ki: const)\nkt = Transpose <perm = [0,1,3,2]> (kr)\nvr = Gather <axis = 1> (v, vi: const)\n",
	} {
		for _, middle := range scores("vr") {
			r = append(r, repeated+middle)
		}
	}
	return r
}

// ReadHeadsApart reads a match of HeadsApart, or says why it is none of float.
func ReadHeadsApart(m *rewrite.Match) (*Heads, error) {
	q, ok := m.Dims("qt")
	if !ok || len(q) != 4 || m.DType("qt") != ir.Float32 {
		return nil, fmt.Errorf("Q is a %s, not surely float of [batch,heads,length,size]", m.Type("qt"))
	}
	h := &Heads{Batch: q[0], Queries: q[2]}
	if h.Heads, ok = q[1].Const(); !ok || h.Heads < 1 {
		return nil, errors.New("the number of heads is not known")
	}
	for _, name := range []string{"k", "v"} {
		d, ok := m.Dims(name)
		if !ok || len(d) != 4 || !d[0].Same(q[0]) || name == "k" && !d[3].Same(q[3]) {
			return nil, fmt.Errorf("%s is a %s, not surely of the batch and size of %s", name, m.Type(name), m.Type("qt"))
		}
		n, known := d[1].Const()
		if !known || n < 1 || h.Heads%n != 0 || name == "v" && (n != h.Shared || !d[2].Same(h.Keys)) {
			return nil, fmt.Errorf("%s is a %s, which does not surely fit", name, m.Type(name))
		}
		h.Shared, h.Keys = n, d[2]
		switch {
		case m.Has("ki"):
			if !interleaves(m, name+"i", h.Heads, n) {
				return nil, fmt.Errorf("the heads of %s are not repeated in groups", name)
			}
		case m.Has("kr"):
			groups := []infer.Int{d[0], d[1], infer.Num(h.Heads / n), d[2], d[3]}
			wide, _ := m.Dims(name + "e")
			flat, _ := m.Dims(name + "r")
			if !sameDims(wide, groups) || !sameDims(flat, []infer.Int{d[0], q[1], d[2], d[3]}) {
				return nil, fmt.Errorf("%s is repeated to a %s, and not surely each head for a group", name, m.Type(name+"e"))
			}
		case n != h.Heads:
			return nil, fmt.Errorf("%s is a %s for %d heads", name, m.Type(name), h.Heads)
		}
	}
	if axis := m.Attr("axis").Int(); axis != -1 && axis != 3 {
		return nil, fmt.Errorf("Softmax is over axis %d", axis)
	}
	return h, h.scale(m)
}

// interleaves reports whether the constant called name has heads indices, of n each as often as the others.
func interleaves(m *rewrite.Match, name string, heads, n int64) bool {
	v, ok, err := rewrite.Ints(m.Const(name))
	m.Fail(err)
	if !ok || m.Const(name).Rank() != 1 || int64(len(v)) != heads {
		return false
	}
	for i, x := range v {
		if x != int64(i)/(heads/n) {
			return false
		}
	}
	return true
}

// Chosen says why scores are not chosen over a number so low that it can be added as well.
func (h *Heads) Chosen(m *rewrite.Match) error {
	if !m.Has("seen") {
		return nil
	}
	if d, ok := m.Dims("seen"); !ok || !h.Full(d) {
		return fmt.Errorf("the condition is a %s, not surely of [1,1,queries,keys]", m.Type("seen"))
	}
	if low := Scalar(m, "lowest"); !(low <= -1e30 && low >= -3.5e38) || m.Const("lowest").Rank() > 4 {
		return fmt.Errorf("what is hidden becomes %v", low)
	}
	if m.Has("mask") {
		return errors.New("there are two masks")
	}
	return nil
}

// Added is what is added to scores that Chosen takes.
func Added(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	return b.Op("Where", []*ir.Value{m.Value("seen"), b.Const("", ir.TensorOf([]float32{0})), m.Value("lowest")})
}

// Finite is what is added to the scores, mask or what Chosen takes, nil if nothing is. Of queries that see no key, since all are hidden by the
// lowest float, Attention and GroupQueryAttention of ONNX Runtime 1.32 make zero instead of the mean of the values, as the standard and the
// arithmetic have it. They do not for a number beside the lowest, to which scores add as little. The nodes are the same for all layers.
func Finite(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	number := func(v float32) *ir.Value { return b.Const("", ir.TensorOf([]float32{v}, []int64{}...)) }
	switch {
	case m.Has("mask"):
		lowest := b.Op("Equal", []*ir.Value{m.Value("mask"), number(-math.MaxFloat32)})
		return b.Op("Where", []*ir.Value{lowest, number(low), m.Value("mask")})
	case m.Has("seen"):
		return b.Op("Where", []*ir.Value{m.Value("seen"), number(0), number(low)})
	}
	return nil
}

// low hides a key.
const low = -3.4e38

// Heads is what a match of Attention is.
type Heads struct {
	Heads  int64 // of Q, and of K and V, too, but for Shared
	Shared int64 // of K and V of HeadsApart
	Scale  float32
	Merged bool  // K and V are of [batch, length, heads*size], as Q always is
	Size   int64 // of a head of Q
	Widen  bool  // for the rule: the mask may have one column for all keys
	Width  int64 // of the result, that of all heads of V
	Flat   bool  // the result is of [batch*length, heads*size], as GPT-2 multiplies it
	// Packed are the places of Q, K and V in x, nil where they are apart.
	Packed []int64
	// Batch, Queries and Keys are the sizes of the scores, [batch, heads, queries, keys].
	Batch, Queries, Keys infer.Int
}

// ReadAttention reads a match of Attention, or says why it is none of float.
func ReadAttention(m *rewrite.Match) (*Heads, error) {
	if d := m.DType("qt"); d != ir.Float32 {
		return nil, fmt.Errorf("Q is of type %s, not surely float", d)
	}
	h := &Heads{Merged: m.Has("kr")}
	var value infer.Int
	var err error
	if m.Has("xr") {
		value, err = h.packed(m)
	} else {
		value, err = h.apart(m)
	}
	if err != nil {
		return nil, err
	}
	z, ok := m.Dims("z")
	size, known := value.Const()
	h.Width = h.Heads * size
	h.Flat = len(z) == 2
	switch {
	case ok && known && len(z) == 3 && z[0].Same(h.Batch) && z[1].Same(h.Queries) && z[2].Is(h.Width):
	case ok && known && len(z) == 2 && h.Width > 0 && z[1].Is(h.Width): // what Reshape makes of it has as many elements
	default:
		return nil, fmt.Errorf("the result is a %s, not surely [batch,length,heads*size]", m.Type("z"))
	}
	if axis := m.Attr("axis").Int(); axis != -1 && axis != 3 {
		return nil, fmt.Errorf("Softmax is over axis %d", axis)
	}
	return h, h.scale(m)
}

// packed reads Q, K and V of one projection, and returns the size of a head of V.
func (h *Heads) packed(m *rewrite.Match) (infer.Int, error) {
	x, ok := m.Dims("x")
	d, ok2 := m.Dims("xr")
	if !ok || !ok2 || len(x) != 3 || len(d) != 5 || !x[0].Same(d[0]) || !x[1].Same(d[1]) || !d[2].Is(3) {
		return infer.Int{}, fmt.Errorf("x is a %s that becomes a %s, not surely [batch,length,3,heads,size]", m.Type("x"), m.Type("xr"))
	}
	h.Batch, h.Queries, h.Keys = x[0], x[1], x[1]
	h.Heads, ok = d[3].Const()
	h.Size, ok2 = d[4].Const()
	if !ok || !ok2 || h.Heads < 1 || h.Size < 1 {
		return infer.Int{}, errors.New("the number of heads or their size is not known")
	}
	for _, name := range []string{"iq", "ik", "iv"} {
		i := int64(Scalar(m, name))
		if i < 0 {
			i += 3
		}
		if m.Const(name).Rank() != 0 || i < 0 || i > 2 {
			return infer.Int{}, fmt.Errorf("place %d of 3 is taken, or the axis kept", i)
		}
		h.Packed = append(h.Packed, i)
	}
	return d[4], nil
}

// apart reads Q, K and V of projections of their own, and returns the size of a head of V.
func (h *Heads) apart(m *rewrite.Match) (infer.Int, error) {
	q, ok := m.Dims("q")
	qr, ok2 := m.Dims("qr")
	if !ok || !ok2 || len(q) != 3 || len(qr) != 4 || !q[0].Same(qr[0]) || !q[1].Same(qr[1]) {
		return infer.Int{}, fmt.Errorf("q is a %s that becomes a %s, not surely [batch,length,heads,size]", m.Type("q"), m.Type("qr"))
	}
	h.Batch, h.Queries = q[0], q[1]
	if h.Heads, ok = qr[2].Const(); !ok || h.Heads < 1 {
		return infer.Int{}, errors.New("the number of heads is not known")
	}
	h.Size, _ = qr[3].Const()
	k, err := h.operand(m, "k")
	if err != nil {
		return infer.Int{}, err
	}
	v, err := h.operand(m, "v")
	if err != nil {
		return infer.Int{}, err
	}
	if h.Keys = k[2]; !k[2].Same(v[2]) || !k[3].Same(qr[3]) {
		return infer.Int{}, fmt.Errorf("k is a %s and v a %s, which do not surely fit", m.Type("k"), m.Type("v"))
	}
	return v[3], nil
}

// operand are the sizes of operand name, [batch, heads, length, size], of which heads and size are known.
func (h *Heads) operand(m *rewrite.Match, name string) ([]infer.Int, error) {
	d, ok := m.Dims(name)
	if h.Merged {
		was := d
		if d, _ = m.Dims(name + "r"); ok && len(was) == 3 && len(d) == 4 && was[0].Same(d[0]) && was[1].Same(d[1]) {
			d = []infer.Int{d[0], d[2], d[1], d[3]}
		} else {
			ok = false
		}
	}
	if ok && len(d) == 4 && d[0].Same(h.Batch) && d[1].Is(h.Heads) && d[2].IsKnown() {
		if n, known := d[3].Const(); known && n > 0 {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s is a %s, not surely of the heads of q", name, m.Type(name))
}

// scale reads the factors.
func (h *Heads) scale(m *rewrite.Match) error {
	f := 1.0
	for _, s := range [][2]string{{"after", "s1"}, {"before", "q0"}, {"beside", "k0"}} {
		if !m.Has(s[0]) {
			continue
		}
		if m.Const(s[0]).Rank() > 4 {
			return errors.New("the factor adds axes")
		}
		if c := Scalar(m, s[0]); m.Node(s[1]).Is("Div") {
			f /= c
		} else {
			f *= c
		}
	}
	// The operators take roots of the factor, one for Q and one for K.
	if h.Scale = float32(f); !(f >= 1e-10 && f <= 1e10) {
		return fmt.Errorf("the factor is %v, not positive and finite", f)
	}
	return nil
}

// Full reports whether what has these sizes is added to the scores without being expanded to queries or keys.
func (h *Heads) Full(d []infer.Int) bool {
	return len(d) == 4 && (d[0].Is(1) || d[0].Same(h.Batch)) && (d[1].Is(1) || d[1].Is(h.Heads)) && d[2].Same(h.Queries) && d[3].Same(h.Keys)
}

// Result makes of attention of [batch,length,heads*size] what the match is of.
func (h *Heads) Result(b *rewrite.Builder, y *ir.Value) *ir.Value {
	if h.Flat {
		return b.Op("Reshape", []*ir.Value{y, b.Ints("", -1, h.Width)})
	}
	return y
}

// Operands are Q, K and V; those of one projection are cut out of it.
func (h *Heads) Operands(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	if h.Packed == nil {
		return []*ir.Value{m.Value("q"), m.Value("k"), m.Value("v")}
	}
	size := h.Heads * h.Size
	in, attrs := []*ir.Value{m.Value("x")}, []*ir.Attr{ir.IntAttr("axis", 2)}
	if sizes := []int64{size, size, size}; m.Opset("") >= 13 {
		in = append(in, b.Ints("", sizes...))
	} else {
		attrs = append(attrs, ir.IntsAttr("split", sizes))
	}
	parts := b.Node("Split", in, 3, attrs...)
	var r []*ir.Value
	for _, i := range h.Packed {
		r = append(r, parts.Result(int(i)))
	}
	return r
}
