package attention

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Models of the Llama family that decode one token at a time, as Hugging Face's Optimum exports decoder_with_past_model, put keys and values
// behind those of the past, and repeat their heads:
//
//	q ────────────────────────────────────────────────────────────── MatMul ── Mul ── Add mask ── Softmax ── MatMul ──
//	past, k ── Concat ─┬─ Unsqueeze ── Expand ── Reshape ── Transpose ─┘                                       │
//	                   └─ (present)                                                                            │
//	past, v ── Concat ─┬─ Unsqueeze ── Expand ── Reshape ──────────────────────────────────────────────────────┘
//	                   └─ (present)
//
// becomes
//
//	q, k, v, past keys and values, lengths, mask ── GroupQueryAttention ── and present keys and values
//
// The operator is causal. One query is the last there is, and sees all keys but those that the mask hides, so that nothing need be known of the
// mask. With more queries a mask from outside cannot be seen to be causal, and a query of which it hides all keys would get another mean;
// ONNX Runtime 1.32 refuses more queries in batches with a past besides.
var group = &rewrite.Rule{
	Name:    "group-query-attention",
	Doc:     "turns attention of one query and a past, whose heads of keys and values are shared in groups, into GroupQueryAttention",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParseFor("Softmax, MatMul", func() []string { return withPast(spelled.HeadsShared()) }),
	Where:   groups,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		h := m.Keep.(*spelled.Heads)
		flat := func(name string, heads int64) *ir.Value { // of one vector, so that its axes may change places
			return b.Op("Reshape", []*ir.Value{m.Value(name), b.Ints("", 0, 1, heads*h.Size)})
		}
		sizes := b.Op("Shape", []*ir.Value{m.Value("pk")})
		past := b.Op("Slice", []*ir.Value{sizes, b.Ints("", 2), b.Ints("", 3)})
		batch := b.Op("Slice", []*ir.Value{sizes, b.Ints("", 0), b.Ints("", 1)})
		total := b.Op("Add", []*ir.Value{past, b.Ints("", 1)})
		int32s := func(v *ir.Value) *ir.Value { return b.Op("Cast", []*ir.Value{v}, ir.IntAttr("to", int64(ir.Int32))) }
		in := []*ir.Value{
			flat("qt", h.Heads), flat("kn", h.Shared), flat("vn", h.Shared), m.Value("pk"), m.Value("pv"),
			b.Op("Expand", []*ir.Value{int32s(past), batch}), int32s(total), nil, nil, nil, bias(b, m, h, total),
		}
		n := contrib.Node(b, "GroupQueryAttention", in, 3, ir.IntAttr("num_heads", h.Heads), ir.IntAttr("kv_num_heads", h.Shared), ir.FloatAttr("scale", h.Scale))
		y := b.Op("Reshape", []*ir.Value{n.Result(0), b.Ints("", 0, h.Heads, 1, h.Size)})
		return []*ir.Value{y, n.Result(1), n.Result(2)}
	},
}

// withPast are patterns of attention with the past before them.
func withPast(patterns []string) []string {
	var r []string
	for _, p := range patterns {
		r = append(r, "k: result = Concat <axis = @ka> (pk, kn)\nv: result = Concat <axis = @va> (pv, vn)\n"+p)
	}
	return r
}

func groups(m *rewrite.Match) error {
	switch {
	case m.Supports("Attention"):
		return errors.New("the model's opset has an operator of its own for it")
	case m.Opset("") < 13:
		return errors.New("the opset is below 13")
	}
	h, err := spelled.ReadHeadsApart(m)
	if err != nil {
		return err
	}
	m.Keep = h
	if !h.Queries.Is(1) {
		return fmt.Errorf("there are %s queries, not surely 1", h.Queries)
	}
	k, _ := m.Dims("k")
	v, _ := m.Dims("v")
	size, ok := k[3].Const()
	if h.Size = size; !ok || size < 1 || size%8 != 0 || !v[3].Is(size) {
		return fmt.Errorf("keys are a %s and values a %s, not surely of one size that is a multiple of 8", m.Type("k"), m.Type("v"))
	}
	for _, name := range []string{"kn", "vn"} {
		if d, ok := m.Dims(name); !ok || !d[2].Is(1) {
			return fmt.Errorf("%s is a %s, not surely of one key", name, m.Type(name))
		}
	}
	for _, axis := range []int64{m.Attr("ka").Int(), m.Attr("va").Int()} {
		if axis != 2 && axis != -2 {
			return fmt.Errorf("the past is along axis %d", axis)
		}
	}
	if err := h.Chosen(m); err != nil || !m.Has("mask") {
		return err
	}
	d, ok := m.Dims("mask")
	if ok && len(d) == 4 && d[3].IsKnown() {
		h.Widen = !d[3].Same(h.Keys)
		d = append(d[:3:3], h.Keys)
	}
	if !ok || !h.Full(d) || m.DType("mask") != ir.Float32 {
		return fmt.Errorf("the mask is a %s, not surely float of [%s,%d,1,%s] or 1 in place of the first two", m.Type("mask"), h.Batch, h.Heads, h.Keys)
	}
	return nil
}

// bias is what is added to the scores, nil if nothing is.
func bias(b *rewrite.Builder, m *rewrite.Match, h *spelled.Heads, total *ir.Value) *ir.Value {
	v := spelled.Finite(b, m)
	if h.Widen { // a mask of one column is for all keys
		v = b.Op("Expand", []*ir.Value{v, total})
	}
	return v
}
