package quantize

import (
	"math"

	"github.com/onnxopt/onnxopt/analysis/measured"
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
	pool.For(l.rows, 1, func(_, lo, hi int) {
		for row := lo; row < hi; row++ {
			g := row / perGroup
			w, q := l.w[row*l.k:(row+1)*l.k], r.q[row*l.k:(row+1)*l.k]
			s := scales[min(row, len(scales)-1)]
			descend(w, q, s, bits, sweeps, m.xx[g], m.xy[g])
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

// descend rounds one row.
func descend(w []float32, q []int8, s float32, bits, sweeps int, xx, xy []float32) {
	k, t := len(w), top(bits)
	v := make([]float64, k)
	for i, x := range w {
		n := math.Min(math.Max(math.RoundToEven(float64(x/s)), -t), t)
		q[i] = int8(n)
		v[i] = n * float64(s)
	}
	// grad is half the gradient: XX v - XY w.
	grad := make([]float64, k)
	for i := range k {
		a, b := xx[i*k:(i+1)*k], xy[i*k:(i+1)*k]
		sum := 0.0
		for j := range k {
			sum += float64(a[j])*v[j] - float64(b[j])*float64(w[j])
		}
		grad[i] = sum
	}
	for range sweeps {
		moved := false
		for i := range k {
			h := float64(xx[i*k+i])
			if h <= 0 {
				continue
			}
			step := -math.Copysign(float64(s), grad[i])
			if 2*step*grad[i]+step*step*h >= 0 {
				continue
			}
			n := float64(q[i]) + math.Copysign(1, step)
			if math.Abs(n) > t || math.Abs(n*float64(s)-float64(w[i])) > float64(s)*1.01 {
				continue
			}
			q[i] = int8(n)
			moved = true
			row := xx[i*k : (i+1)*k]
			for j, x := range row {
				grad[j] += step * float64(x)
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
	p.tuned = map[*unit]*tuned{}
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
		if p.o.Round {
			sweeps = maxSweeps
		}
		t := l.tune(m, scales, p.p.WeightBits, sweeps, pool)
		t.q = l.scatter(t.q)
		p.tuned[l.u] = &t
	})
}

// learned is how many samples weights are tuned on.
const learned = 64
