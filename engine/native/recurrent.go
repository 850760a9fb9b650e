package native

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// recurrent evaluates LSTM and GRU in float32 with the activations that the specification gives as defaults, without clip,
// peepholes and coupled gates. The input's part of the gates is one product for all steps, X*W' + Wb + Rb; each step adds
// H*R' to its rows in place and applies the cell. W' and R' are packed, when the model is loaded if they are constants.
type recurrent struct {
	gates      int // 4: LSTM, in order i, o, f, c; 3: GRU, in order z, r, h
	reverse    []bool
	batchFirst bool // layout=1
	linear     bool // GRU: linear_before_reset
	w, r       *ir.Tensor
	packed     []packedCell // by direction, nil where the weights are not constants
}

// packedCell holds the weights of one direction: W' and the parts of R' that are multiplied in one go.
type packedCell struct {
	w *gemm.PackedB[float32]
	r []*gemm.PackedB[float32]
}

func prepareLSTM(s *site) severalExecutor {
	if s.given(7) || s.Int("input_forget", 0) != 0 {
		return nil
	}
	return prepareRecurrent(s, 4, "sigmoid", "tanh", "tanh")
}

func prepareGRU(s *site) severalExecutor { return prepareRecurrent(s, 3, "sigmoid", "tanh") }

func prepareRecurrent(s *site, gates int, activations ...string) severalExecutor {
	n := &recurrent{gates: gates, batchFirst: s.Int("layout", 0) != 0, linear: s.Int("linear_before_reset", 0) != 0}
	switch s.Str("direction", "forward") {
	case "forward":
		n.reverse = []bool{false}
	case "reverse":
		n.reverse = []bool{true}
	case "bidirectional":
		n.reverse = []bool{false, true}
	default:
		return nil
	}
	if s.Attr("clip") != nil {
		return nil
	}
	given := s.Attr("activations").Strs()
	if len(given) > 0 && len(given) < len(n.reverse)*len(activations) {
		return nil
	}
	for i, a := range given {
		if !strings.EqualFold(a, activations[i%len(activations)]) {
			return nil
		}
	}
	if n.w, n.r = s.constant(1), s.constant(2); n.w != nil && n.r != nil {
		if h, ok := n.sizes(n.w, n.r); ok {
			n.packed = n.pack(n.w, n.r, h)
		}
	}
	return n.run
}

// sizes returns the hidden size if the weights fit each other.
func (n *recurrent) sizes(w, r *ir.Tensor) (hidden int, ok bool) {
	if w.Rank() != 3 || r.Rank() != 3 || w.Len() == 0 || r.Len() == 0 {
		return 0, false
	}
	h := r.Shape()[2]
	rows := int64(n.gates) * h
	return int(h), w.Shape()[0] == int64(len(n.reverse)) && w.Shape()[1] == rows &&
		slices.Equal(r.Shape(), []int64{int64(len(n.reverse)), rows, h})
}

// pack arranges the weights for products. The candidate gate of a GRU that resets before its product has one of its own.
func (n *recurrent) pack(w, r *ir.Tensor, hidden int) []packedCell {
	wv, err := ir.Elements[float32](w)
	if err != nil {
		return nil
	}
	rv, err := ir.Elements[float32](r)
	if err != nil {
		return nil
	}
	g, inputs := n.gates*hidden, int(w.Shape()[2])
	cut := g
	if n.gates == 3 {
		cut = 2 * hidden
	}
	var cells []packedCell
	for d := range n.reverse {
		c := packedCell{w: gemm.PackB(gemm.RowMajor(wv[d*g*inputs:][:g*inputs], g, inputs).T())}
		m := rv[d*g*hidden:][:g*hidden]
		c.r = append(c.r, gemm.PackB(gemm.RowMajor(m[:cut*hidden], cut, hidden).T()))
		if cut < g {
			c.r = append(c.r, gemm.PackB(gemm.RowMajor(m[cut*hidden:], g-cut, hidden).T()))
		}
		cells = append(cells, c)
	}
	return cells
}

// layers are the sizes and buffers of one evaluation.
type layers struct {
	seq, batch, inputs, hidden int
	x, bias                    []float32   // bias may be nil
	gates                      []float32   // a row for each step and batch entry, as in x
	extra                      []float32   // two rows of hidden for each batch entry
	y                          []float32   // nil: not wanted
	states                     [][]float32 // h and, for LSTM, c
}

func (n *recurrent) run(t *task) ([]ir.Datum, bool) {
	l, ok := n.operands(t)
	if !ok {
		return nil, false
	}
	w, _, _ := t.single(1)
	r, _, _ := t.single(2)
	cells := n.packed
	if w != n.w || r != n.r || cells == nil {
		if cells = n.pack(w, r, l.hidden); cells == nil {
			return nil, false
		}
	}
	lent, ok := n.lend(t, l)
	if !ok {
		return nil, false
	}
	for d := range n.reverse {
		n.direction(t, l, d, cells[d])
	}
	t.done(l.gates)
	t.done(l.extra)
	return n.results(t, l, lent), true
}

// operands checks and reads everything but the weights' elements. What is wrong or unusual is left to the kernel.
func (n *recurrent) operands(t *task) (*layers, bool) {
	x, xv, okX := t.single(0)
	w, _, okW := t.single(1)
	r, _, okR := t.single(2)
	if !okX || !okW || !okR || x.Rank() != 3 || len(xv) == 0 {
		return nil, false
	}
	hidden, ok := n.sizes(w, r)
	if !ok || x.Shape()[2] != w.Shape()[2] || t.step.node.Int("hidden_size", int64(hidden)) != int64(hidden) {
		return nil, false
	}
	l := &layers{seq: int(x.Shape()[0]), batch: int(x.Shape()[1]), inputs: int(x.Shape()[2]), hidden: hidden, x: xv}
	if n.batchFirst {
		l.seq, l.batch = l.batch, l.seq
	}
	if len(t.in) > 3 && t.in[3] != nil {
		if _, l.bias, ok = t.single(3); !ok || len(l.bias) != len(n.reverse)*2*n.gates*hidden {
			return nil, false
		}
	}
	if len(t.in) > 4 && t.in[4] != nil && !fullLengths(t.in[4], l) {
		return nil, false
	}
	return l, true
}

// fullLengths reports whether every sequence has all steps.
func fullLengths(d ir.Datum, l *layers) bool {
	x, ok := d.(*ir.Tensor)
	if !ok || x.DType() != ir.Int32 {
		return false
	}
	v, err := ir.Elements[int32](x)
	return err == nil && len(v) == l.batch && !slices.ContainsFunc(v, func(n int32) bool { return int(n) != l.seq })
}

// lend allocates the buffers and sets the initial states; lent are those that become results.
func (n *recurrent) lend(t *task, l *layers) (lent [][]float32, ok bool) {
	var all [][]float32
	ok = true
	get := func(size int, from func(int) ([]float32, bool)) []float32 {
		v, enough := from(size)
		if !enough {
			ok = false
			return nil
		}
		all = append(all, v)
		return v
	}
	l.gates, l.extra = get(l.seq*l.batch*n.gates*l.hidden, t.scratch), get(2*l.batch*l.hidden, t.scratch)
	if t.step.wants(0) {
		l.y = get(l.seq*len(n.reverse)*l.batch*l.hidden, t.lend)
	}
	for i := range n.gates - 2 {
		v := get(len(n.reverse)*l.batch*l.hidden, t.lend)
		ok = ok && n.initial(t, 5+i, v)
		l.states = append(l.states, v)
	}
	if !ok {
		for _, v := range all {
			t.done(v)
		}
	}
	return append([][]float32{l.y}, l.states...), ok
}

// initial copies the initial state of operand i, zeros if it is omitted.
func (n *recurrent) initial(t *task, i int, dst []float32) bool {
	if i >= len(t.in) || t.in[i] == nil {
		clear(dst)
		return true
	}
	_, v, ok := t.single(i)
	return ok && len(v) == copy(dst, v) && len(v) == len(dst)
}

// direction evaluates one direction over all steps.
func (n *recurrent) direction(t *task, l *layers, d int, cell packedCell) {
	h, g, dirs := l.hidden, n.gates*l.hidden, len(n.reverse)
	bias, candidate := n.biases(l, d)
	rows := l.seq * l.batch
	gemm.GemmPackedB(gemm.RowMajor(l.gates, rows, g), gemm.RowMajor(l.x, rows, l.inputs), cell.w, gemm.Options[float32]{ColBias: bias, Pool: t.pool})
	rowStep, rowBatch := l.batch, 1 // rows of x and of the gates
	stateAt, stateBatch := d*l.batch*h, h
	if n.batchFirst {
		rowStep, rowBatch = 1, l.seq
		stateAt, stateBatch = d*h, dirs*h
	}
	hs := gemm.View[float32]{Data: l.states[0][stateAt:], Rows: l.batch, Cols: h, RowStride: stateBatch, ColStride: 1}
	scratch, lent := t.scratch(gemm.Scratch[float32](l.batch, g, h, 1))
	o := gemm.Options[float32]{Accumulate: true}
	if lent {
		o.Scratch = scratch
		defer t.done(scratch)
	}
	for k := range l.seq {
		if k%64 == 0 && t.frame.run.ctx.Err() != nil {
			return // the step reports it
		}
		at := k
		if n.reverse[d] {
			at = l.seq - 1 - k
		}
		first := at * rowStep
		gates := gemm.View[float32]{Data: l.gates[first*g:], Rows: l.batch, Cols: cell.cols(g, h), RowStride: rowBatch * g, ColStride: 1}
		gemm.GemmPackedB(gates, hs, cell.r[0], o)
		if n.gates == 3 {
			n.gru(l, gates, hs, cell.r[1], candidate, o)
		} else {
			lstm(gates, hs, l.states[1][stateAt:], l.extra[:h])
		}
		if l.y == nil {
			continue
		}
		for b := range l.batch {
			to := ((at*dirs+d)*l.batch + b) * h
			if n.batchFirst {
				to = ((b*l.seq+at)*dirs + d) * h
			}
			copy(l.y[to:to+h], hs.Data[b*stateBatch:][:h])
		}
	}
}

// cols is the number of gate columns of the first product with R'.
func (c packedCell) cols(g, hidden int) int {
	if len(c.r) == 2 {
		return g - hidden
	}
	return g
}

// biases returns Wb + Rb; for a GRU that resets after the product, Rb of the candidate gate apart.
func (n *recurrent) biases(l *layers, d int) (sum, candidate []float32) {
	if l.bias == nil {
		return nil, nil
	}
	g := n.gates * l.hidden
	wb, rb := l.bias[d*2*g:][:g], l.bias[d*2*g+g:][:g]
	sum = slices.Clone(wb)
	if n.gates == 3 && n.linear {
		candidate, rb = rb[2*l.hidden:], rb[:2*l.hidden]
	}
	for i, v := range rb {
		sum[i] += v
	}
	return sum, candidate
}

// lstm applies the cell to the rows of the gates: c = f*c + i*c~, h = o*tanh(c).
func lstm(gates, hs gemm.View[float32], cs, tmp []float32) {
	h := hs.Cols
	for b := range gates.Rows {
		row, c := gates.Data[b*gates.RowStride:][:4*h], cs[b*hs.RowStride:][:h]
		gemm.Sigmoid(row[:3*h], row[:3*h])
		gemm.Tanh(row[3*h:], row[3*h:])
		gemm.Mul(row[:h], row[:h], row[3*h:])
		gemm.Mul(c, c, row[2*h:3*h])
		gemm.Add(c, c, row[:h])
		gemm.Tanh(tmp, c)
		gemm.Mul(hs.Data[b*hs.RowStride:][:h], row[h:2*h], tmp)
	}
}

// gru applies the cell to the rows of the gates: h = (1-z)*h~ + z*h, written h~ + z*(h-h~).
func (n *recurrent) gru(l *layers, gates, hs gemm.View[float32], candidate *gemm.PackedB[float32], bias []float32, o gemm.Options[float32]) {
	h := hs.Cols
	reset, product := l.extra[:l.batch*h], l.extra[l.batch*h:]
	for b := range gates.Rows {
		row := gates.Data[b*gates.RowStride:][:2*h]
		gemm.Sigmoid(row, row)
		gemm.Mul(reset[b*h:][:h], row[h:], hs.Data[b*hs.RowStride:][:h])
	}
	o.Accumulate = false
	left := gemm.RowMajor(reset, l.batch, h)
	if n.linear {
		left, o.ColBias = hs, bias
	}
	gemm.GemmPackedB(gemm.RowMajor(product, l.batch, h), left, candidate, o)
	for b := range gates.Rows {
		row, u, state := gates.Data[b*gates.RowStride:][:3*h], product[b*h:][:h], hs.Data[b*hs.RowStride:][:h]
		if n.linear {
			gemm.Mul(u, u, row[h:2*h])
		}
		gemm.Add(u, u, row[2*h:])
		gemm.Tanh(u, u)
		gemm.Sub(state, state, u)
		gemm.Mul(state, state, row[:h])
		gemm.Add(state, state, u)
	}
}

// results wraps the buffers that are wanted, and gives the others back.
func (n *recurrent) results(t *task, l *layers, lent [][]float32) []ir.Datum {
	s, d, b, h := int64(l.seq), int64(len(n.reverse)), int64(l.batch), int64(l.hidden)
	ys, ss := []int64{s, d, b, h}, []int64{d, b, h}
	if n.batchFirst {
		ys, ss = []int64{b, s, d, h}, []int64{b, d, h}
	}
	r := make([]ir.Datum, len(lent))
	for i, v := range lent {
		shape := ss
		if i == 0 {
			shape = ys
		}
		if !t.step.wants(i) {
			t.done(v)
			continue
		}
		r[i] = ir.TensorOf(v, slices.Clone(shape)...)
	}
	return r
}
