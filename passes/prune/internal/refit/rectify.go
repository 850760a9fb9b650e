package refit

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/ir"
)

// Where a rectifier takes the result, values that the original had below zero may be anything below zero. Each round sets the targets of those
// to what the fit gives, if that is below zero, and solves again with the same normal matrix; the loss, which is convex, never grows. It is the
// nonlinear reconstruction of Zhang, Zou, He and Sun (TPAMI 2016) with the targets' step in closed form.

// bounds are what a rectifier cuts off: (0, +Inf) of Relu, (0, 6) of Clip. ok is false if there is none.
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
				if t == nil || t.DType() != ir.Float32 || t.Len() != 1 {
					return 0, 0, false
				}
				e, err := ir.Elements[float32](t)
				if err != nil {
					return 0, 0, false
				}
				*p = float64(e[0])
			}
		}
		return lo, hi, true
	}
	return 0, 0, false
}

// classes reports whether v goes into a Softmax over its last dimension, as what an image is classified by.
func classes(v *ir.Value) bool {
	u, only := v.OnlyUse()
	if !only || !u.Node.Is("Softmax") {
		return false
	}
	axis := u.Node.Int("axis", map[bool]int64{true: 1, false: -1}[v.Graph().Opset("") < 13])
	return axis == -1 || axis == 1 && u.Node.Graph().Opset("") < 13
}

// aimClasses sets z to targets that lower the Kullback-Leibler divergence of the classes' probabilities from the original's: a step of the bound
// of Böhning ("Multinomial logistic regression algorithm", 1992), whose curvature is half of the normal matrix. It returns the divergence.
func (h *sheet) aimClasses(w linalg.Matrix[float64], z []float64, r *runner) float64 {
	gemm.Gemm(gemm.RowMajor(z, h.rows(), h.m), gemm.RowMajor(h.x, h.rows(), h.n), w.View(), gemm.Options[float64]{Pool: r.Pool})
	loss := 0.0
	p, q := make([]float64, h.m), make([]float64, h.m)
	for i := 0; i < len(z); i += h.m {
		softmax(p, h.s[i:][:h.m])
		softmax(q, z[i:][:h.m])
		for k := range p {
			loss += p[k] * (math.Log(p[k]+1e-12) - math.Log(q[k]+1e-12))
			z[i+k] += 2 * (p[k] - q[k])
		}
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

// sheet holds rows: what they are computed of, what the original gave before its rectifier, and what is added before ours.
type sheet struct {
	x, s, o []float64
	n, m    int
	classes bool
}

func (h *sheet) rows() int { return len(h.x) / h.n }

// aim sets z to targets of the product alone, given weights; it returns the loss behind the rectifier.
func (h *sheet) aim(w linalg.Matrix[float64], lo, hi float64, z []float64, r *runner) float64 {
	gemm.Gemm(gemm.RowMajor(z, h.rows(), h.m), gemm.RowMajor(h.x, h.rows(), h.n), w.View(), gemm.Options[float64]{Pool: r.Pool})
	loss := 0.0
	for i, p := range z {
		o := 0.0
		if h.o != nil {
			o = h.o[i]
		}
		p += o
		t := h.s[i]
		d := min(max(p, lo), hi) - min(max(t, lo), hi)
		loss += d * d
		switch {
		case t <= lo:
			t = min(p, lo)
		case t >= hi:
			t = max(p, hi)
		}
		z[i] = t - o
	}
	return loss
}

// rectify improves w for the loss behind the rectifier.
func (r *runner) rectify(h *sheet, eq *linalg.LeastSquares, w, prior linalg.Matrix[float64], mask []bool, lambda float64, free int, lo, hi float64, rounds int) linalg.Matrix[float64] {
	z := make([]float64, len(h.s))
	for range rounds {
		if h.classes {
			h.aimClasses(w, z, r)
		} else {
			h.aim(w, lo, hi, z, r)
		}
		e := *eq
		e.G = linalg.New[float64](h.n, h.m)
		gemm.Gemm(e.G.View(), gemm.RowMajor(h.x, h.rows(), h.n).T(), gemm.RowMajor(z, h.rows(), h.m), gemm.Options[float64]{Pool: r.Pool})
		var masks [][]bool
		if mask != nil {
			masks = [][]bool{mask}
		}
		x, err := solveAll([]*linalg.LeastSquares{&e}, []linalg.Matrix[float64]{prior}, masks, lambda, free, r.Pool)
		if err != nil {
			return w
		}
		w = x[0]
	}
	return w
}
