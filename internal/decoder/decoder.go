// Package decoder makes language models of chosen size with random weights, for tests and benchmarks: a decoder as Llama is one
// (Touvron et al. 2023), with grouped-query attention of ONNX Runtime, a cache of keys and values, and an embedding that is also the
// head.
package decoder

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// Config is the size of a decoder. The defaults of Large come to 4.2 GB of float32.
type Config struct {
	Layers, Hidden, Inner, Heads, KVHeads, Vocabulary, Length int
}

// Small is a decoder of 1 MB.
func Small() Config { return Config{2, 64, 160, 4, 2, 512, 64} }

// Large is a decoder of 1.06 billion weights.
func Large() Config { return Config{22, 2048, 5632, 32, 8, 32000, 2048} }

// builder adds nodes to a graph.
type builder struct {
	Config
	g    *ir.Graph
	seed uint64
}

// Model builds a decoder. Its weights are computed when they are read. Inputs: input_ids [batch,length] and attention_mask
// [batch,total] of int64, past_key_values.I.key and .value [batch,kv heads,past,head size]. Outputs: logits [batch,length,vocabulary],
// present.I.key and .value [batch,kv heads,total,head size].
func Model(c Config) *ir.Model {
	m := ir.NewModel(10, 21)
	m.SetOpset("com.microsoft", 1)
	m.ProducerName = "onnxopt decoder"
	b := &builder{Config: c, g: m.Main, seed: 1}
	b.g.SetName("decoder")
	size := int64(c.Hidden / c.Heads)
	dims := func(d ...any) ir.Shape {
		s := ir.Shape{}
		for _, x := range d {
			switch x := x.(type) {
			case string:
				s = append(s, ir.Symbol(x))
			case int:
				s = append(s, ir.Static(int64(x)))
			case int64:
				s = append(s, ir.Static(x))
			}
		}
		return s
	}
	ids := b.g.AddInput("input_ids", ir.TensorType(ir.Int64, dims("batch", "length")))
	mask := b.g.AddInput("attention_mask", ir.TensorType(ir.Int64, dims("batch", "total")))
	var past [][2]*ir.Value
	for i := range c.Layers {
		t := ir.TensorType(ir.Float32, dims("batch", c.KVHeads, "past", size))
		past = append(past, [2]*ir.Value{
			b.g.AddInput(fmt.Sprintf("past_key_values.%d.key", i), t), b.g.AddInput(fmt.Sprintf("past_key_values.%d.value", i), t)})
	}
	count := b.op("ReduceSum", []*ir.Value{mask, b.ints(1)}, ir.IntAttr("keepdims", 0))
	last := b.op("Cast", []*ir.Value{b.op("Sub", []*ir.Value{count, b.g.Const(ir.ScalarOf(int64(1)))})}, ir.IntAttr("to", int64(ir.Int32)))
	total := b.op("Cast", []*ir.Value{b.op("Gather", []*ir.Value{b.op("Shape", []*ir.Value{mask}), b.g.Const(ir.ScalarOf(int64(1)))})}, ir.IntAttr("to", int64(ir.Int32)))
	cos, sin := b.rotary(int(size))
	table := b.weight("model.embed_tokens.weight", c.Vocabulary, c.Hidden)
	h := b.op("Gather", []*ir.Value{table, ids})
	var present [][2]*ir.Value
	for i := range c.Layers {
		name := fmt.Sprintf("model.layers.%d.", i)
		x := b.norm(name+"input_layernorm", h)
		kv := c.KVHeads * int(size)
		q := b.product(name+"self_attn.q_proj", x, c.Hidden, c.Hidden)
		k := b.product(name+"self_attn.k_proj", x, c.Hidden, kv)
		v := b.product(name+"self_attn.v_proj", x, c.Hidden, kv)
		a := b.g.NewN(nil, ir.OpID{Domain: "com.microsoft", Type: "GroupQueryAttention"},
			[]*ir.Value{q, k, v, past[i][0], past[i][1], last, total, cos, sin}, 3,
			ir.IntAttr("num_heads", int64(c.Heads)), ir.IntAttr("kv_num_heads", int64(c.KVHeads)), ir.IntAttr("do_rotary", 1))
		a.SetName(name + "self_attn")
		present = append(present, [2]*ir.Value{a.Result(1), a.Result(2)})
		h = b.op("Add", []*ir.Value{h, b.product(name+"self_attn.o_proj", a.Result(0), c.Hidden, c.Hidden)})
		x = b.norm(name+"post_attention_layernorm", h)
		gate := b.product(name+"mlp.gate_proj", x, c.Hidden, c.Inner)
		act := b.op("Mul", []*ir.Value{gate, b.op("Sigmoid", []*ir.Value{gate})})
		up := b.product(name+"mlp.up_proj", x, c.Hidden, c.Inner)
		h = b.op("Add", []*ir.Value{h, b.product(name+"mlp.down_proj", b.op("Mul", []*ir.Value{act, up}), c.Inner, c.Hidden)})
	}
	h = b.norm("model.norm", h)
	logits := b.op("MatMul", []*ir.Value{h, b.op("Transpose", []*ir.Value{table}, ir.IntsAttr("perm", []int64{1, 0}))})
	b.g.AddOutput("logits", logits, ir.TensorType(ir.Float32, dims("batch", "length", c.Vocabulary)))
	for i, p := range present {
		t := ir.TensorType(ir.Float32, dims("batch", c.KVHeads, "total", size))
		b.g.AddOutput(fmt.Sprintf("present.%d.key", i), p[0], t)
		b.g.AddOutput(fmt.Sprintf("present.%d.value", i), p[1], t)
	}
	return m
}

func (b *builder) op(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return b.g.New(nil, ir.Op(typ), in, attrs...).Result(0)
}

func (b *builder) ints(v ...int64) *ir.Value { return b.g.Const(ir.TensorOf(v)) }

// norm divides by the root of the mean square (Zhang and Sennrich 2019).
func (b *builder) norm(name string, x *ir.Value) *ir.Value {
	w := make([]float32, b.Hidden)
	for i := range w {
		w[i] = 1
	}
	sq := b.op("Mul", []*ir.Value{x, x})
	mean := b.op("ReduceMean", []*ir.Value{sq, b.ints(-1)})
	root := b.op("Sqrt", []*ir.Value{b.op("Add", []*ir.Value{mean, b.g.Const(ir.ScalarOf(float32(1e-5)))})})
	return b.op("Mul", []*ir.Value{b.op("Div", []*ir.Value{x, root}), b.g.NamedConst(name+".weight", ir.TensorOf(w))})
}

func (b *builder) product(name string, x *ir.Value, k, n int) *ir.Value {
	y := b.g.New(nil, ir.Op("MatMul"), []*ir.Value{x, b.weight(name+".weight", k, n)})
	y.SetName(name)
	return y.Result(0)
}

// rotary are tables of cosines and sines [length, size/2] (Su et al. 2021).
func (b *builder) rotary(size int) (cos, sin *ir.Value) {
	c, s := make([]float32, 0, b.Length*size/2), make([]float32, 0, b.Length*size/2)
	for p := range b.Length {
		for i := range size / 2 {
			a := float64(p) * math.Pow(10000, -2*float64(i)/float64(size))
			c, s = append(c, float32(math.Cos(a))), append(s, float32(math.Sin(a)))
		}
	}
	shape := []int64{int64(b.Length), int64(size / 2)}
	return b.g.NamedConst("cos_cache", ir.TensorOf(c, shape...)), b.g.NamedConst("sin_cache", ir.TensorOf(s, shape...))
}

// weight is a random matrix [rows, columns].
func (b *builder) weight(name string, rows, columns int) *ir.Value {
	b.seed++
	scale := float32(1 / math.Sqrt(float64(b.Hidden)))
	return b.g.NamedConst(name, ir.NewLazyTensor(ir.Float32, []int64{int64(rows), int64(columns)}, &random{rows * columns, b.seed, scale}))
}

// random is a payload of numbers whose distribution is near that of trained weights: a sum of uniform ones.
type random struct {
	n     int
	seed  uint64
	scale float32
}

// Uncached marks the payload as one whose bytes are not kept.
func (*random) Uncached() {}

// Strings is an error.
func (*random) Strings() ([]string, error) { return nil, fmt.Errorf("weights are no strings") }

// Bytes computes the numbers.
func (r *random) Bytes() ([]byte, error) {
	v := make([]float32, r.n)
	x := r.seed * 0x9e3779b97f4a7c15
	for i := range v {
		x ^= x << 13 // xorshift64 (Marsaglia 2003)
		x ^= x >> 7
		x ^= x << 17
		s := int32(x&0xffff) + int32(x>>16&0xffff) + int32(x>>32&0xffff) + int32(x>>48) - 2*0xffff
		v[i] = float32(s) / 0xffff * r.scale
	}
	return ir.AsBytes(v), nil
}
