package quantize

import (
	"math"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// tuned is what learning makes of the weights of a unit, by rows as in layer.
type tuned struct {
	q      []int8
	scales []float32
	shift  []float64 // added to the bias, by row
}

// tune rounds the weights so that the outputs, not the weights, come out right. The squared error of a row of outputs over the data is a
// quadratic form of the rounded weights v,
//
//	E|w·y - v·x|² = v XX vᵀ - 2 v XY wᵀ + const,
//
// in which x is the input as quantized and y as it was. Starting from the nearest integers, steps to a neighbour are taken while one lowers
// it (coordinate descent; the problem is that of AdaRound, Nagel et al. 2020, without its relaxation). The mean error is put into the bias
// (Nagel et al. 2019, section 4.2).
func (l layer) tune(m *moments, scales []float32, bits, sweeps int, pool *par.Pool) tuned {
	r := tuned{make([]int8, len(l.w)), scales, make([]float64, l.rows)}
	perGroup := l.rows / l.groups
	start := l.gradients(m, r.q, scales, bits, pool)
	pool.For(l.rows, 1, func(_, lo, hi int) {
		for row := lo; row < hi; row++ {
			g := row / perGroup
			w, q := l.w[row*l.k:(row+1)*l.k], r.q[row*l.k:(row+1)*l.k]
			s := scales[min(row, len(scales)-1)]
			descend(w, q, start[row*l.k:(row+1)*l.k], s, bits, sweeps, m.xx[g])
			mx, my := m.meanX[g*l.k:], m.meanY[g*l.k:]
			for i := range w {
				r.shift[row] += float64(w[i])*my[i] - float64(float32(q[i])*s)*mx[i]
			}
		}
	})
	return r
}

// maxSweeps bounds the rounds of the descent over a row.
const maxSweeps = 12

// gradients rounds to the nearest integers, and gives half the gradient there: v XX - w XY', a row for each row.
func (l layer) gradients(m *moments, q []int8, scales []float32, bits int, pool *par.Pool) []float32 {
	t := top(bits)
	v := make([]float32, len(l.w))
	for row := range l.rows {
		s := scales[min(row, len(scales)-1)]
		for i := row * l.k; i < (row+1)*l.k; i++ {
			n := math.Min(math.Max(math.RoundToEven(float64(l.w[i])/float64(s)), -t), t)
			q[i] = int8(n)
			v[i] = float32(n) * s
		}
	}
	r := make([]float32, len(l.w))
	n := l.rows / l.groups * l.k
	for g := range l.groups {
		part := func(x []float32) gemm.View[float32] { return gemm.RowMajor(x[g*n:(g+1)*n], n/l.k, l.k) }
		xx, xy := gemm.RowMajor(m.xx[g], l.k, l.k), gemm.RowMajor(m.xy[g], l.k, l.k)
		negative := make([]float32, n)
		for i, x := range l.w[g*n : (g+1)*n] {
			negative[i] = -x
		}
		gemm.Gemm(part(r), part(v), xx, gemm.Options[float32]{Pool: pool})
		gemm.Gemm(part(r), gemm.RowMajor(negative, n/l.k, l.k), xy.T(), gemm.Options[float32]{Accumulate: true, Pool: pool})
	}
	return r
}

// descend moves the integers of one row from where the gradient is the given one.
func descend(w []float32, q []int8, grad []float32, s float32, bits, sweeps int, xx []float32) {
	k, t := len(w), top(bits)
	for range sweeps {
		moved := false
		for i := range k {
			h := float64(xx[i*k+i])
			if h <= 0 {
				continue
			}
			step := -math.Copysign(float64(s), float64(grad[i]))
			if 2*step*float64(grad[i])+step*step*h >= 0 {
				continue
			}
			n := float64(q[i]) + math.Copysign(1, step)
			if math.Abs(n) > t || math.Abs(n*float64(s)-float64(w[i])) > float64(s)*1.01 {
				continue
			}
			q[i] = int8(n)
			moved = true
			row := xx[i*k : (i+1)*k]
			f := float32(step)
			for j, x := range row {
				grad[j] += f * x
			}
		}
		if !moved {
			break
		}
	}
}

// scatter puts rows back into the order of the weights.
func (l layer) scatter(rows []int8) []int8 {
	if l.u.node.Is("Conv") || l.u.axis == 0 {
		return rows
	}
	r := make([]int8, len(rows))
	for j := range l.rows {
		for i := range l.k {
			r[i*l.rows+j] = rows[j*l.k+i]
		}
	}
	return r
}

// learnWeights tunes the weights of all units whose patches are known, on a part of the data.
func (p *plan) learnWeights(data *measured.Calibration) error {
	p.tuned = map[*ir.Node]*tuned{}
	pool := par.New(data.Threads())
	var layers []layer
	for _, u := range p.units {
		if u.kind != weighted || p.p.WeightBits > 8 {
			continue
		}
		l, ok, err := layerOf(u)
		if err != nil {
			return err
		}
		if ok && l.k <= longestRow && p.byVal[u.node.Operand(u.acts[0])] != nil {
			layers = append(layers, l)
		}
	}
	return p.learn(data.Limit(learned), layers, func(l layer, m *moments) {
		axis := l.u.axis
		if !p.p.PerChannel {
			axis = -1
		}
		w, err := matrixOf(l.u.node.Operand(l.u.weight).Const(), axis)
		if err != nil || m.n == 0 {
			return
		}
		scales := w.scales(p.p.WeightBits)
		if b := l.u.node.Operand(l.u.bias); l.u.bias >= 0 && p.o.Bias == "int32" {
			if v, err := ir.Elements[float32](b.Const()); err == nil {
				guardBias(scales, p.byVal[l.u.node.Operand(l.u.acts[0])].group.q.scale, v)
			}
		}
		sweeps := 0
		if p.o.Round && l.u.node.Operand(l.u.weight).NumUses() == 1 { // what others use, too, is stored once
			sweeps = maxSweeps
		}
		t := l.tune(m, scales, p.p.WeightBits, sweeps, pool)
		t.q = l.scatter(t.q)
		p.tuned[l.u.node] = &t
	})
}

// learned is how many samples weights are tuned on.
const learned = 64
