package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// dynamicQuantizeLSTMOp is LSTM with weights of 8 bits, W [dirs, inputs, 4*H] and R [dirs, H, 4*H], with one scale and zero point a
// direction or a column (operands 8 to 11). X, all of it, and the hidden states of a step, all batch entries together, are quantized
// to uint8 by their range for the products.
func dynamicQuantizeLSTMOp(c *Call) ([]ir.Datum, error) {
	n, w, r, err := newQuantizedLSTM(c)
	if err != nil {
		return nil, err
	}
	h, err := n.initial(c, 5)
	if err != nil {
		return nil, err
	}
	cell, err := n.initial(c, 6)
	if err != nil {
		return nil, err
	}
	peep, err := n.optional(c, 7, 3*n.dirs*n.hidden)
	if err != nil {
		return nil, err
	}
	y, err := alloc[float64](c, []int64{int64(n.seq), int64(n.dirs), int64(n.batch), int64(n.hidden)})
	if err != nil {
		return nil, err
	}
	g, size := 4*n.hidden, n.hidden
	coupled := c.int("input_forget", 0) != 0
	for dir := range n.dirs {
		xw, err := w.times(c, dir, n.x, n.seq*n.batch)
		if err != nil {
			return nil, err
		}
		at := dir * n.batch * size
		hd, cd := h[at:at+n.batch*size], cell[at:at+n.batch*size]
		for k := range n.seq {
			hr, err := r.times(c, dir, hd, n.batch)
			if err != nil {
				return nil, err
			}
			for b := range n.batch {
				if k >= int(n.lens[b]) {
					continue
				}
				t := k
				if n.reverse[dir] {
					t = int(n.lens[b]) - 1 - k
				}
				s := lstmState{h: hd[b*size : (b+1)*size], c: cd[b*size : (b+1)*size], peep: peep[dir*3*size:][:3*size]}
				s.step(n, dir, xw[(t*n.batch+b)*g:][:g], hr[b*g:][:g], n.b[dir*2*g:][:2*g], coupled)
				copy(y[((t*n.dirs+dir)*n.batch+b)*size:], s.h)
			}
		}
	}
	return n.results(c, y, h, cell)
}

func newQuantizedLSTM(c *Call) (n *recurrent, w, r *quantizedMatrix, err error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, nil, nil, err
	}
	n = &recurrent{dtype: x.DType(), gates: 4, hidden: int(c.int("hidden_size", 0))}
	if err := n.readDirections(c); err != nil {
		return nil, nil, nil, err
	}
	if x.Rank() != 3 || x.DType() != ir.Float32 || n.hidden < 1 || n.hidden > 1<<30 {
		return nil, nil, nil, c.badOperand(0, x)
	}
	n.seq, n.batch, n.inputs = int(x.Shape()[0]), int(x.Shape()[1]), int(x.Shape()[2])
	if n.x, err = c.floats(x); err != nil {
		return nil, nil, nil, err
	}
	if w, err = newQuantizedMatrix(c, 1, 8, n.dirs, n.inputs, 4*n.hidden); err != nil {
		return nil, nil, nil, err
	}
	if r, err = newQuantizedMatrix(c, 2, 10, n.dirs, n.hidden, 4*n.hidden); err != nil {
		return nil, nil, nil, err
	}
	if n.b, err = n.optional(c, 3, 8*n.hidden*n.dirs); err != nil {
		return nil, nil, nil, err
	}
	if err := n.readLens(c); err != nil {
		return nil, nil, nil, err
	}
	return n, w, r, n.readActivations(c, []string{"Sigmoid", "Tanh", "Tanh"})
}

// quantizedMatrix is a weight of 8 bits for each direction, less its zero points.
type quantizedMatrix struct {
	v          []int32
	scales     []float64
	rows, cols int
	per        int // scales a direction
}

// newQuantizedMatrix reads operand i [dirs, rows, cols] with scales and zero points in s and s+1, [dirs] or [dirs, cols].
func newQuantizedMatrix(c *Call, i, s, dirs, rows, cols int) (*quantizedMatrix, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape(), []int64{int64(dirs), int64(rows), int64(cols)}) || !t.DType().IsInt() || t.DType().Bits() != 8 {
		return nil, c.badOperand(i, t)
	}
	v, err := c.ints(t)
	if err != nil {
		return nil, err
	}
	st, err := c.Need(s)
	if err != nil {
		return nil, err
	}
	m := &quantizedMatrix{rows: rows, cols: cols, per: int(st.Len()) / dirs}
	if st.Len() != int64(dirs) && st.Len() != int64(dirs*cols) {
		return nil, c.badOperand(s, st)
	}
	if m.scales, err = c.floats(st); err != nil {
		return nil, err
	}
	zero, ok, err := c.intsOperand(s + 1)
	if err != nil {
		return nil, err
	}
	if !ok || len(zero) != len(m.scales) {
		return nil, fmt.Errorf("%d zero points for %d scales", len(zero), len(m.scales))
	}
	if m.v, err = alloc[int32](c, t.Shape()); err != nil {
		return nil, err
	}
	for k, e := range v {
		m.v[k] = int32(e - zero[k/(rows*cols)*m.per+k%cols%m.per])
	}
	return m, nil
}

// times is x [n, rows] times the matrix of a direction, with x quantized.
func (m *quantizedMatrix) times(c *Call, dir int, x []float64, n int) ([]float64, error) {
	q, scale, zero, err := quantizeDynamic(c, x)
	if err != nil {
		return nil, err
	}
	for i := range q {
		q[i] -= zero
	}
	sums, _, err := matMul(c, q, m.v[dir*m.rows*m.cols:(dir+1)*m.rows*m.cols], []int64{int64(n), int64(m.rows)}, []int64{int64(m.rows), int64(m.cols)})
	if err != nil {
		return nil, err
	}
	r, err := alloc[float64](c, []int64{int64(len(sums))})
	if err != nil {
		return nil, err
	}
	for i, s := range sums {
		f := float32(scale * float32(m.scales[dir*m.per+i%m.cols%m.per]))
		r[i] = float64(float32(float32(s) * f))
	}
	return r, nil
}

// lstmState is what a step of a LSTM changes for one batch entry.
type lstmState struct{ h, c, peep []float64 }

// step takes the products of the gates i, o, f, c with the input and the state, and both biases.
func (s *lstmState) step(n *recurrent, dir int, xw, hr, bias []float64, coupled bool) {
	size, g := n.hidden, 4*n.hidden
	for i := range size {
		pre := func(k int) float64 {
			at := k*size + i
			return xw[at] + hr[at] + (bias[at] + bias[g+at])
		}
		gate := func(k, peephole int, cc float64) float64 {
			x := pre(k)
			if w := s.peep[peephole*size+i]; w != 0 {
				x += float64(w * cc)
			}
			return n.squash(dir, 3, 0, x)
		}
		cc := s.c[i]
		in := gate(0, 0, cc)
		forget := 1 - in
		if !coupled {
			forget = gate(2, 2, cc)
		}
		cc = float64(forget*cc) + float64(in*n.squash(dir, 3, 1, pre(3)))
		s.c[i] = cc
		s.h[i] = float64(gate(1, 1, cc) * n.acts[dir*3+2](cc))
	}
}
