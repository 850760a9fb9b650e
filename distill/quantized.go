package distill

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// A quantized student learns behind its quantizers: a weight that is stored in integers becomes a float32 initializer behind a QuantizeLinear,
// which passes derivatives straight through, and scales are trained, too. Biases of 32 bits are trained as numbers; at the end they get the
// scale of their layer's products, as integer kernels want it.

// scales are the quantizers of a trainee, by names of initializers.
type scales struct {
	weights []*stored
	biases  []*stored
	bits    int                 // the fewest of a weight, 0 without weights
	same    map[string][]string // scales of the student that have the value of one that is trained
}

// stored is a weight or bias that the student has in integers.
type stored struct {
	integers, master string
	scale            string // the student's; a bias gets a new one
	left, right      string // scales of a bias's products, "" if they are not known
}

func isConst(v *ir.Value, d ir.DType) bool {
	return v != nil && v.IsInitializer() && v.Name() != "" && v.Const().DType() == d
}

// findScales rewrites the quantized weights of the trainee.
func (t *trainee) findScales(ctx context.Context) (*scales, error) {
	q, g := &scales{same: map[string][]string{}}, t.m.Main
	masters := map[*ir.Value]*ir.Value{}
	for _, n := range g.NodeList() {
		if !n.Is("DequantizeLinear") {
			continue
		}
		v, s := n.Operand(0), n.Operand(1)
		if p := v.Node(); p != nil && p.Is("QuantizeLinear") && p.Operand(1) != s && isConst(s, ir.Float32) && isConst(p.Operand(1), ir.Float32) {
			a, err := s.Const().Bytes()
			b, err2 := p.Operand(1).Const().Bytes()
			if err == nil && err2 == nil && slices.Equal(a, b) {
				q.same[p.Operand(1).Name()] = append(q.same[p.Operand(1).Name()], s.Name())
				n.SetOperand(1, p.Operand(1))
			}
			continue
		}
		if !v.IsInitializer() || v.Name() == "" || !isConst(s, ir.Float32) || !v.Const().DType().IsInt() {
			continue
		}
		master := masters[v]
		if master == nil {
			f, err := t.o.evaluate(ctx, t.m.Opset(""), n, v.Const(), s.Const(), constOf(n.Operand(2)))
			if err != nil {
				return nil, fmt.Errorf("%q: %w", v.Name(), err)
			}
			master = g.NamedConst(fresh(t.m, v.Name()+".distill.master"), f)
			masters[v] = master
			w := &stored{integers: v.Name(), master: master.Name(), scale: s.Name()}
			if v.Const().DType().Bits() > 16 {
				w.left, w.right = productScales(n)
				q.biases = append(q.biases, w)
			} else {
				q.weights = append(q.weights, w)
				if b := v.Const().DType().Bits(); q.bits == 0 || b < q.bits {
					q.bits = b
				}
			}
		}
		if v.Const().DType().Bits() > 16 {
			n.Result(0).ReplaceUses(master)
			g.Erase(n)
			continue
		}
		zero := n.Operand(2)
		if zero == nil && v.Const().DType() != ir.Uint8 {
			size := (v.Const().DType().Bits()*int(s.Const().Len()) + 7) / 8
			zero = g.Const(ir.NewTensor(v.Const().DType(), s.Const().Shape(), make([]byte, size)))
		}
		in := []*ir.Value{master, s}
		if zero != nil {
			in = append(in, zero)
		}
		var attrs []*ir.Attr
		for _, a := range n.Attrs() {
			if a.Name == "axis" || a.Name == "block_size" {
				attrs = append(attrs, a)
			}
		}
		n.SetOperand(0, g.New(n, ir.Op("QuantizeLinear"), in, attrs...).Result(0))
	}
	return q, nil
}

func constOf(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	return v.Const()
}

// productScales are the scales of the operands of the layer whose bias n makes.
func productScales(n *ir.Node) (left, right string) {
	u, ok := n.Result(0).OnlyUse()
	if !ok || u.Index != 2 || !u.Node.Is("Conv", "Gemm", "ConvTranspose") {
		return "", ""
	}
	scale := func(v *ir.Value) string {
		if p := v.Node(); p != nil && p.Is("DequantizeLinear") && isConst(p.Operand(1), ir.Float32) {
			return p.Operand(1).Name()
		}
		return ""
	}
	if left, right = scale(u.Node.Operand(0)), scale(u.Node.Operand(1)); left == "" || right == "" {
		return "", ""
	}
	return left, right
}

// addScales makes parameters of the quantized weights and of the scales.
func (t *trainee) addScales() error {
	add := func(name string, k kind) error {
		if slices.ContainsFunc(t.params, func(w *param) bool { return w.name == name }) {
			return nil
		}
		w, err := read(named(t.m, name), k)
		if err != nil {
			return err
		}
		if k == weight && t.o.Zeros {
			w.keepZeros()
		}
		t.params = append(t.params, w)
		return nil
	}
	for _, w := range append(slices.Clone(t.scales.weights), t.scales.biases...) {
		if err := add(w.master, weight); err != nil {
			return err
		}
	}
	for _, n := range t.m.Main.NodeList() {
		if n.Is("QuantizeLinear") && isConst(n.Operand(1), ir.Float32) {
			if err := add(n.Operand(1).Name(), quantizer); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish stores the integers and scales in the student.
func (q *scales) finish(ctx context.Context, t *trainee, get map[string]*param, done map[string]bool) error {
	m := t.o.Student
	tensor := func(w *param) *ir.Tensor { return ir.TensorOf(slices.Clone(w.result()), w.shape...) }
	for _, w := range t.params {
		if w.kind != quantizer {
			continue
		}
		for _, name := range append([]string{w.name}, q.same[w.name]...) {
			if v := named(m, name); v != nil {
				replace(m, v, tensor(w))
			}
		}
		done[w.name] = true
	}
	for _, w := range q.weights {
		v := named(m, w.integers)
		n := v.Use(0).Node
		zero := constOf(n.Operand(2))
		if zero == nil {
			s := n.Operand(1).Const()
			zero = ir.NewTensor(v.Const().DType(), s.Shape(), make([]byte, (v.Const().DType().Bits()*int(s.Len())+7)/8))
		}
		r, err := t.o.evaluateAs(ctx, "QuantizeLinear", m.Opset(""), n, tensor(get[w.master]), n.Operand(1).Const(), zero)
		if err != nil {
			return fmt.Errorf("%q: %w", w.integers, err)
		}
		replace(m, v, r)
	}
	for _, w := range q.biases {
		v := named(m, w.integers)
		n := v.Use(0).Node
		scale, err := ir.Elements[float32](named(m, w.scale).Const())
		if err != nil {
			return err
		}
		b := get[w.master].result()
		if w.left != "" {
			l, r := named(m, w.left), named(m, w.right)
			if other := get[w.left]; other != nil && l == nil {
				l = named(m, other.name)
			}
			if l != nil && r != nil {
				if s := products(l.Const(), r.Const(), len(b)); s != nil {
					scale = s
					old := n.Operand(1)
					n.SetOperand(1, m.Main.NamedConst(fresh(m, w.scale+".products"), ir.TensorOf(s, shapeLike(n, s)...)))
					if old.NumUses() == 0 {
						m.Main.EraseConst(old)
					}
				}
			}
		}
		ints := make([]int32, len(b))
		for i, x := range b {
			ints[i] = int32(min(max(math.RoundToEven(float64(x)/float64(scale[i%len(scale)])), math.MinInt32), math.MaxInt32))
		}
		replace(m, v, ir.TensorOf(ints, get[w.master].shape...))
	}
	return nil
}

// products are the scales of products, one or one for each of n channels.
func products(left, right *ir.Tensor, n int) []float32 {
	l, err := ir.Elements[float32](left)
	r, err2 := ir.Elements[float32](right)
	if err != nil || err2 != nil || len(l) != 1 || len(r) != 1 && len(r) != n {
		return nil
	}
	s := make([]float32, len(r))
	for i, x := range r {
		s[i] = l[0] * x
	}
	return s
}

// shapeLike is the shape of the scales of n's operand.
func shapeLike(n *ir.Node, s []float32) []int64 {
	if n.Operand(1).Const().Rank() == 0 && len(s) == 1 {
		return []int64{}
	}
	return []int64{int64(len(s))}
}

// evaluate computes the DequantizeLinear n of constants.
func (o *Options) evaluate(ctx context.Context, opset int64, n *ir.Node, in ...*ir.Tensor) (*ir.Tensor, error) {
	return o.evaluateAs(ctx, "DequantizeLinear", opset, n, in...)
}

// evaluateAs computes one operator with the axis and blocks of n.
func (o *Options) evaluateAs(ctx context.Context, op string, opset int64, n *ir.Node, in ...*ir.Tensor) (*ir.Tensor, error) {
	m := ir.NewModel(10, opset)
	feeds := map[string]ir.Datum{}
	var operands []*ir.Value
	for i, t := range in {
		if t == nil {
			continue
		}
		name := fmt.Sprint("x", i)
		operands = append(operands, m.Main.AddInput(name, t.Type()))
		feeds[name] = t
	}
	var attrs []*ir.Attr
	for _, a := range n.Attrs() {
		if a.Name == "axis" || a.Name == "block_size" {
			attrs = append(attrs, a)
		}
	}
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op(op), operands, attrs...).Result(0), nil)
	s, err := o.Engine.Load(ctx, m, engine.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out, err := s.Run(ctx, feeds)
	if err != nil {
		return nil, err
	}
	return out["y"].(*ir.Tensor), nil
}
