package measured

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// Where a rectifier takes the result, values that the original had below zero may be anything below zero. Each round sets the targets of those
// to what the fit gives, if that is below zero, and solves again with the same normal matrix; a convex bound of the loss never grows. It is the
// nonlinear reconstruction of Zhang, Zou, He and Sun ("Accelerating very deep convolutional networks for classification and detection",
// TPAMI 2016) with the targets' step in closed form.

// Rounds of targets behind a rectifier, behind a Softmax, and of chains, whose rounds are iterations themselves.
const (
	reluRounds  = 8
	classRounds = 50
	chainRounds = 2
)

// maxSheet bounds the numbers that are held of the rows of a layer.
const maxSheet = 1 << 26

// sheet holds the rows of a group: what they are computed of, what the original gave before its rectifier, and what is added before ours.
type sheet struct {
	n, m    int
	x       []float32
	s, o    []float64
	lo, hi  float64 // what the rectifier cuts off
	classes bool    // rows go into a Softmax
}

// sheets are those that a layer's rows are kept in, by group: so many to fit, and so many held back; nil if they need not be kept, or would take
// too much memory.
func (j *refitJob) sheets(fit, back int, room *room) (sheets, judges []*sheet) {
	l := j.linear
	rows := fit + back
	if rows*l.Groups*(l.In+1+4*l.Out) > maxSheet {
		return nil, nil
	}
	lo, hi, ok := rectifier(j.sum())
	c := !ok && j.other == nil && l.Groups == 1 && classes(j.sum())
	if !ok && !c || l.kind == convTranspose {
		return nil, nil
	}
	nx, nt := rows*(l.In+1), rows*l.Out
	room.x, room.s = sized(room.x, nx*l.Groups), sized(room.s, nt*l.Groups)
	if j.other != nil {
		room.o = sized(room.o, nt*l.Groups)
	}
	for g := range l.Groups {
		x, t := room.x[g*nx:][:nx], room.s[g*nt:][:nt]
		part := func(from, to int) *sheet {
			h := &sheet{n: l.In + 1, m: l.Out, lo: lo, hi: hi, classes: c}
			h.x, h.s = x[from*h.n : to*h.n : to*h.n][:0], t[from*h.m : to*h.m : to*h.m][:0]
			if j.other != nil {
				h.o = room.o[g*nt:][from*h.m : to*h.m : to*h.m][:0]
			}
			return h
		}
		sheets, judges = append(sheets, part(0, fit)), append(judges, part(fit, rows))
	}
	return sheets, judges
}

// room is the memory of sheets, which one layer after another uses.
type room struct {
	x    []float32
	s, o []float64
}

// sum is what the layer and the other operand of an Add give together.
func (j *refitJob) sum() *ir.Value {
	if j.other == nil {
		return j.result
	}
	u, _ := j.result.OnlyUse()
	return u.Node.Result(0)
}

// rectifier tells what is cut off of v: below 0 by Relu, below 0 and above 6 by such a Clip. ok is false if nothing is, or others use v, too.
func rectifier(v *ir.Value) (lo, hi float64, ok bool) {
	u, only := v.OnlyUse()
	if !only {
		return 0, 0, false
	}
	switch n := u.Node; {
	case n.Is("Relu"):
		return 0, math.Inf(1), true
	case n.Is("Clip") && u.Index == 0:
		lo, hi = math.Inf(-1), math.Inf(1)
		if n.Attr("min") != nil || n.Attr("max") != nil {
			lo, hi = float64(n.Float("min", float32(lo))), float64(n.Float("max", float32(hi)))
		}
		for i, p := range []*float64{&lo, &hi} {
			if o := n.Operand(i + 1); o != nil {
				t := o.Const()
				if t == nil || t.Len() != 1 {
					return 0, 0, false
				}
				e, err := Floats(t)
				if err != nil || e == nil {
					return 0, 0, false
				}
				*p = float64(e[0])
			}
		}
		return lo, hi, lo <= hi
	}
	return 0, 0, false
}

// classes reports whether v goes into a Softmax over its last dimension, as what an image is classified by.
func classes(v *ir.Value) bool {
	u, only := v.OnlyUse()
	if !only || !u.Node.Is("Softmax") {
		return false
	}
	old := u.Node.Graph().Opset("") < 13
	axis := u.Node.Int("axis", map[bool]int64{true: 1, false: -1}[old])
	return axis == -1 || axis == 1 && v.Type().TensorShape() != nil && len(v.Type().TensorShape()) == 2
}

// add appends the rows of a sample.
func (h *sheet) add(p *sampleRows, l *Linear, g int) {
	h.x = append(h.x, p.x[g*p.count*h.n:][:p.count*h.n]...)
	for i := range p.count {
		at := (i*l.Groups + g) * h.m
		h.s = append(h.s, p.t[at:][:h.m]...)
		if len(p.o) > 0 {
			h.o = append(h.o, p.o[at:][:h.m]...)
		}
	}
}

// other is what is added to element i of the product.
func (h *sheet) other(i int) float64 {
	if len(h.o) != len(h.s) {
		return 0
	}
	return h.o[i]
}

// aim gives the right-hand side Xᵀz of the targets that go with the weights w, and the loss behind the rectifier or Softmax with these weights.
// Products are in float32, as what is multiplied was; they are added up in float64.
func (h *sheet) aim(w linalg.Matrix[float64], pool *par.Pool) (g linalg.Matrix[float64], loss float64) {
	g, part := linalg.New[float64](h.n, h.m), linalg.New[float32](h.n, h.m)
	loss = h.pass(w, pool, func(x, z gemm.View[float32]) {
		gemm.Gemm(part.View(), x.T(), z, gemm.Options[float32]{Pool: pool})
		for i, v := range part.Data {
			g.Data[i] += float64(v)
		}
	})
	return g, loss
}

// loss is that behind the rectifier or Softmax with the weights w.
func (h *sheet) loss(w linalg.Matrix[float64], pool *par.Pool) float64 {
	return h.pass(w, pool, func(gemm.View[float32], gemm.View[float32]) {})
}

// pass calls with for blocks of rows and of their targets, and sums the loss.
func (h *sheet) pass(w linalg.Matrix[float64], pool *par.Pool, with func(x, z gemm.View[float32])) (loss float64) {
	w32 := linalg.Convert[float32](w)
	z, losses := make([]float32, blockRows*h.m), make([]float64, blockRows)
	rows := len(h.x) / h.n
	for at := 0; at < rows; at += blockRows {
		k := min(blockRows, rows-at)
		x, z := gemm.RowMajor(h.x[at*h.n:][:k*h.n], k, h.n), z[:k*h.m]
		gemm.Gemm(gemm.RowMajor(z, k, h.m), x, w32.View(), gemm.Options[float32]{Pool: pool})
		pool.For(k, 64, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				if row := z[i*h.m:][:h.m]; h.classes {
					losses[i] = aimClasses(row, h.s[(at+i)*h.m:][:h.m])
				} else {
					losses[i] = h.aimRectified(row, (at+i)*h.m)
				}
			}
		})
		for _, l := range losses[:k] {
			loss += l
		}
		with(x, gemm.RowMajor(z, k, h.m))
	}
	return loss
}

// aimRectified replaces a row of products by targets of them.
func (h *sheet) aimRectified(z []float32, at int) (loss float64) {
	for i, v := range z {
		o, t := h.other(at+i), h.s[at+i]
		p := float64(v) + o
		d := min(max(p, h.lo), h.hi) - min(max(t, h.lo), h.hi)
		loss += d * d
		switch {
		case t <= h.lo:
			t = min(p, h.lo)
		case t >= h.hi:
			t = max(p, h.hi)
		}
		z[i] = float32(t - o)
	}
	return loss
}

// aimClasses replaces a row of products by targets that lower the Kullback-Leibler divergence of the classes' probabilities from the original's: a
// step of the bound of Böhning ("Multinomial logistic regression algorithm", 1992), whose curvature is half of the normal matrix.
func aimClasses(z []float32, s []float64) (loss float64) {
	p, q := make([]float64, len(z)), make([]float64, len(z))
	for k, v := range z {
		q[k] = float64(v)
	}
	softmax(p, s)
	softmax(q, q)
	for k := range p {
		loss += p[k] * (math.Log(p[k]+1e-12) - math.Log(q[k]+1e-12))
		z[k] += float32(2 * (p[k] - q[k]))
	}
	return loss
}

func softmax(p, x []float64) {
	top := slices.Max(x)
	sum := 0.0
	for i, v := range x {
		p[i] = math.Exp(v - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}
