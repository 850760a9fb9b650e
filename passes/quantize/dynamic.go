package quantize

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// dynamic stores the weights of products in integers and finds the scales of activations at run time, with DynamicQuantizeLinear (8 bits,
// unsigned, over the whole tensor). ONNX Runtime merges what is written here into DynamicQuantizeMatMul and MatMulIntegerToFloat.
type dynamic struct {
	c      *passes.Context
	facts  *facts.Facts
	p      Profile
	scaled map[*ir.Value]*ir.Node // the quantizer of a tensor
	stored map[storedKey]storedProduct
	done   map[string]int
	kept   []verdict
}

// storedKey is weights that products of one graph read, with their output channels at an axis; storedProduct what they became.
type (
	storedKey struct {
		w    *ir.Value
		g    *ir.Graph
		axis int
	}
	storedProduct struct{ q, scales *ir.Value }
)

// productsOnly reports whether nothing reads w but products as their weights: otherwise it would have to stay in float, too.
func productsOnly(w *ir.Value) bool {
	for use := range w.Uses() {
		if use.Index != 1 || !use.Node.Is("MatMul", "Gemm") {
			return false
		}
	}
	return true
}

// smallTable is the number of elements below which a table of embeddings is not worth the three nodes more.
const smallTable = 1 << 12

func runDynamic(c *passes.Context, m *ir.Model, p Profile) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	d := &dynamic{c: c, facts: f, p: p, scaled: map[*ir.Value]*ir.Node{}, stored: map[storedKey]storedProduct{}, done: map[string]int{}}
	for n := range m.Nodes() {
		if n.Graph().Function() != nil {
			continue
		}
		if err := d.node(n); err != nil {
			return err
		}
	}
	c.Note(d.report())
	return c.Err()
}

func (d *dynamic) node(n *ir.Node) error {
	why := ""
	var err error
	switch {
	case n.Is("MatMul", "Gemm"):
		why, err = d.product(n)
	case n.Is("Gather"):
		why, err = d.table(n)
	case n.Is("LSTM"):
		why, err = d.lstm(n)
	case n.Is("Conv", "ConvTranspose"):
		if w := n.Operand(1); w.Const() == nil && w.Node() != nil && w.Node().Is("DequantizeLinear") {
			why = "it is quantized already"
			break
		}
		why = "convolutions are faster in float than with scales found at run time; mode=static quantizes them"
	case n.Is("GRU", "RNN"):
		why = "no runtime has an integer kernel with scales found at run time for it"
	default:
		return nil
	}
	if why != "" {
		d.kept = append(d.kept, verdict{n, why})
		d.c.Remark(n, "dynamic", why)
	}
	return err
}

// product replaces a MatMul or Gemm:
//
//	x ── DynamicQuantizeLinear ── MatMulInteger ── Cast ── Mul by (scale of x * scales of w) ── Add bias
func (d *dynamic) product(n *ir.Node) (why string, err error) {
	w := n.Operand(1)
	t := w.Const()
	switch {
	case t == nil && w != nil && w.Node() != nil && w.Node().Is("DequantizeLinear"):
		return "it is quantized already", nil
	case t == nil:
		return "both operands are activations", nil
	case t.DType() != ir.Float32 || t.Rank() != 2 || t.Len() == 0:
		return fmt.Sprintf("its weights are %s", t.Type()), nil
	case d.facts.DType(n.Operand(0)) != ir.Float32 || n.Operand(0).Const() != nil:
		return "its input is no tensor of floats", nil
	case n.Is("Gemm") && (n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Operand(2) != nil && n.Float("beta", 1) != 1):
		return "transA, alpha or beta are not what integer products take", nil
	case !d.c.Enabled("dynamic", n):
		return "only=, except= or --skip leaves it out", nil
	case !finite(t):
		return "its weights are not finite", nil
	case !productsOnly(w):
		return "its weights are needed in float, too, and would be stored twice", nil
	}
	axis := 1
	if n.Is("Gemm") && n.Int("transB", 0) != 0 {
		axis = 0
	}
	m, err := matrixOf(t, axis)
	if err != nil {
		return "", err
	}
	q := m.round(m.scales(d.p.WeightBits), d.p.WeightBits)
	shape := t.Shape()
	if axis == 0 {
		q.q, shape = transposed(q.q, int(shape[0]), int(shape[1])), []int64{shape[1], shape[0]}
	}
	x, g := n.Operand(0), n.Graph()
	d.c.Rewrite("dynamic", n, nil, func() {
		dq := d.scaled[x]
		if dq == nil {
			at := n
			if x.Node() != nil && x.Graph() == g {
				at = x.Node()
			}
			dq = g.NewN(at, ir.Op("DynamicQuantizeLinear"), []*ir.Value{x}, 3)
			if x.Graph() == g {
				d.scaled[x] = dq
			}
		}
		key := storedKey{w, g, axis}
		have, ok := d.stored[key]
		if !ok {
			have.q = g.Const(ir.TensorOf(q.q, shape...))
		}
		zero := g.Const(ir.ScalarOf(int8(0)))
		sums := g.New(n, ir.Op("MatMulInteger"), []*ir.Value{dq.Result(0), have.q, dq.Result(2), zero}).Result(0)
		float := g.New(n, ir.Op("Cast"), []*ir.Value{sums}, ir.IntAttr("to", int64(ir.Float32))).Result(0)
		if !ok {
			have.scales = g.Const(ir.TensorOf(q.scales, int64(len(q.scales))))
			d.stored[key] = have
		}
		scales := g.New(n, ir.Op("Mul"), []*ir.Value{dq.Result(1), have.scales}).Result(0)
		y := g.New(n, ir.Op("Mul"), []*ir.Value{float, scales}).Result(0)
		if b := n.Operand(2); n.Is("Gemm") && b != nil {
			y = g.New(n, ir.Op("Add"), []*ir.Value{y, b}).Result(0)
		}
		d.replace(n, y, w)
	})
	d.done[n.Op().Type]++
	return "", nil
}

// replace puts y in the place of n's result and drops n and what it alone used.
func (d *dynamic) replace(n *ir.Node, y *ir.Value, weights ...*ir.Value) {
	n.Result(0).ReplaceUses(y)
	n.Graph().Erase(n)
	for _, w := range weights {
		dropConst(w)
	}
}

// dropConst erases a constant that nothing uses any more.
func dropConst(v *ir.Value) {
	switch n := v.Node(); {
	case v.NumUses() > 0:
	case v.IsInitializer():
		v.Graph().EraseConst(v)
	case n != nil && n.Is("Constant"):
		n.Graph().Erase(n)
	}
}

func transposed[T any](v []T, rows, cols int) []T {
	r := make([]T, len(v))
	for i := range rows {
		for j := range cols {
			r[j*rows+i] = v[i*cols+j]
		}
	}
	return r
}

// table stores embeddings in integers with a scale for each row: what Gather finds is cast and multiplied by the row's scale.
func (d *dynamic) table(n *ir.Node) (why string, err error) {
	v := n.Operand(0)
	t := v.Const()
	if t == nil || t.DType() != ir.Float32 || t.Rank() != 2 || n.Int("axis", 0) != 0 || t.Len() < smallTable {
		return "", nil
	}
	if v.NumUses() != 1 {
		return "its table has other uses", nil
	}
	if !finite(t) {
		return "its table is not finite", nil
	}
	if !d.c.Enabled("dynamic", n) {
		return "only=, except= or --skip leaves it out", nil
	}
	m, err := matrixOf(t, 0)
	if err != nil {
		return "", err
	}
	q := m.round(m.scales(8), 8)
	g := n.Graph()
	d.c.Rewrite("dynamic", n, nil, func() {
		rows := g.New(n, ir.Op("Gather"), []*ir.Value{g.Const(ir.TensorOf(q.q, t.Shape()...)), n.Operand(1)}).Result(0)
		scales := g.New(n, ir.Op("Gather"), []*ir.Value{g.Const(ir.TensorOf(q.scales, t.Shape()[0], 1)), n.Operand(1)}).Result(0)
		float := g.New(n, ir.Op("Cast"), []*ir.Value{rows}, ir.IntAttr("to", int64(ir.Float32))).Result(0)
		d.replace(n, g.New(n, ir.Op("Mul"), []*ir.Value{float, scales}).Result(0), v)
	})
	d.done["Gather"]++
	return "", nil
}

// lstm becomes ONNX Runtime's DynamicQuantizeLSTM, whose weights are [directions, inputs, 4*hidden] with a scale for each column.
func (d *dynamic) lstm(n *ir.Node) (why string, err error) {
	w, r := n.Operand(1), n.Operand(2)
	switch {
	case w.Const() == nil || r.Const() == nil:
		return "its weights are not constant", nil
	case w.Const().DType() != ir.Float32 || w.Const().Rank() != 3 || r.Const().Rank() != 3 || w.Const().Len() == 0 || r.Const().Len() == 0:
		return fmt.Sprintf("its weights are %s", w.Const().Type()), nil
	case !finite(w.Const()) || !finite(r.Const()):
		return "its weights are not finite", nil
	case n.Int("layout", 0) != 0:
		return "its batch comes first", nil
	case !strings.HasPrefix(d.p.Name, "ort"):
		return "the profile has no integer kernel for it", nil
	case !d.c.Enabled("dynamic", n):
		return "only=, except= or --skip leaves it out", nil
	}
	type half struct {
		q      *ir.Tensor
		scales []float32
		dims   []int64
	}
	pack := func(t *ir.Tensor) (half, error) {
		v, err := ir.Elements[float32](t)
		if err != nil {
			return half{}, err
		}
		s := t.Shape()
		dirs, out, in := int(s[0]), int(s[1]), int(s[2])
		h := half{dims: []int64{s[0], s[1]}}
		var all []int8
		for k := range dirs {
			m := matrix{v[k*out*in : (k+1)*out*in], 1, out, in}
			q := m.round(m.scales(d.p.WeightBits), d.p.WeightBits)
			all = append(all, transposed(q.q, out, in)...)
			h.scales = append(h.scales, q.scales...)
		}
		h.q = ir.TensorOf(all, s[0], s[2], s[1])
		return h, nil
	}
	hw, err := pack(w.Const())
	if err != nil {
		return "", err
	}
	hr, err := pack(r.Const())
	if err != nil {
		return "", err
	}
	g := n.Graph()
	d.c.Rewrite("dynamic", n, nil, func() {
		in := make([]*ir.Value, 12)
		copy(in, n.Operands())
		in[1], in[2] = g.Const(hw.q), g.Const(hr.q)
		in[8], in[10] = g.Const(ir.TensorOf(hw.scales, hw.dims...)), g.Const(ir.TensorOf(hr.scales, hr.dims...))
		in[9], in[11] = g.Const(ir.TensorOf(make([]int8, len(hw.scales)), hw.dims...)), g.Const(ir.TensorOf(make([]int8, len(hr.scales)), hr.dims...))
		var attrs []*ir.Attr
		for _, a := range n.Attrs() {
			if a.Name != "layout" {
				attrs = append(attrs, a)
			}
		}
		if g.Model().Opset("com.microsoft") == 0 {
			g.Model().SetOpset("com.microsoft", 1)
		}
		k := g.NewN(n, ir.OpID{Domain: "com.microsoft", Type: "DynamicQuantizeLSTM"}, in, n.NumResults(), attrs...)
		for i, v := range n.Results() {
			if v == nil {
				k.OmitResult(i)
			} else {
				v.ReplaceUses(k.Result(i))
			}
		}
		g.Erase(n)
		dropConst(w)
		dropConst(r)
	})
	d.done["LSTM"]++
	return "", nil
}

// report lists what was done.
func (d *dynamic) report() string {
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(d.done)) {
		parts = append(parts, fmt.Sprintf("%d %s", d.done[op], op))
	}
	s := "scales at run time, for " + d.p.Name + ": " + strings.Join(parts, ", ")
	if len(parts) == 0 {
		s = errNothing.Error()
	}
	return s + keptText(d.kept)
}
