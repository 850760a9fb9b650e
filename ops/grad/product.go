package grad

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// matmulRule: of Y = A B are dA = dY Bᵀ and dB = Aᵀ dY, summed over the axes of the batch that were repeated.
func matmulRule(b *builder) error {
	x, w, d := b.in(0), b.in(1), b.dy[0]
	rx, err := b.rank(x)
	rw, err2 := b.rank(w)
	if err := both(err, err2); err != nil {
		return err
	}
	mx, mw := x, w
	if rx == 1 {
		mx = b.op("Unsqueeze", x, b.ints(0))
		axis := int64(-1) // of a product of vectors: a scalar becomes [1], and then [1,1]
		if rw > 1 {
			axis = -2
		}
		d = b.op("Unsqueeze", d, b.ints(axis))
	}
	if rw == 1 {
		mw = b.op("Unsqueeze", w, b.ints(1))
		d = b.op("Unsqueeze", d, b.ints(-1))
	}
	b.infer.Extend(mx)
	b.infer.Extend(mw)
	rx, rw = max(rx, 2), max(rw, 2)
	if b.need(0) {
		g := b.op("MatMul", d, b.flip(mw, rw))
		if err := b.passReduced(0, g, mx); err != nil {
			return err
		}
	}
	if b.need(1) {
		var g *ir.Value
		if rw == 2 && rx > 2 { // one product instead of a sum of many
			k := b.concat(0, b.ints(-1), b.size(mx, rx-1))
			n := b.concat(0, b.ints(-1), b.size(mw, 1))
			g = b.op("MatMul", b.transpose(b.reshape(mx, k), 1, 0), b.reshape(d, n))
		} else {
			g = b.op("MatMul", b.flip(mx, rx), d)
		}
		return b.passReduced(1, g, mw)
	}
	return nil
}

// passReduced adds d, summed to the shape of v, to the derivative by operand i, whose elements v has.
func (b *builder) passReduced(i int, d, v *ir.Value) error {
	b.infer.Extend(d)
	u, err := b.unbroadcast(d, v, d)
	if err != nil {
		return err
	}
	if v != b.in(i) {
		u = b.like(u, b.in(i))
	}
	b.pass(i, u)
	return nil
}

// flip exchanges the last two axes.
func (b *builder) flip(v *ir.Value, rank int) *ir.Value {
	p := make([]int64, rank)
	for i := range p {
		p[i] = int64(i)
	}
	p[rank-1], p[rank-2] = p[rank-2], p[rank-1]
	return b.transpose(v, p...)
}

// gemmRule: of Y = α A' B' + β C.
func gemmRule(b *builder) error {
	alpha, beta := ops.Float(b.n, "alpha"), ops.Float(b.n, "beta")
	ta, tb := ops.Int(b.n, "transA"), ops.Int(b.n, "transB")
	d := b.dy[0]
	gemm := func(p, q *ir.Value, tp, tq int64) *ir.Value {
		return b.with("Gemm", []*ir.Value{p, q}, ir.FloatAttr("alpha", alpha), ir.IntAttr("transA", tp), ir.IntAttr("transB", tq))
	}
	if b.need(0) {
		if ta == 0 {
			b.pass(0, gemm(d, b.in(1), 0, 1-tb))
		} else {
			b.pass(0, gemm(b.in(1), d, tb, 1))
		}
	}
	if b.need(1) {
		if tb == 0 {
			b.pass(1, gemm(b.in(0), d, 1-ta, 0))
		} else {
			b.pass(1, gemm(d, b.in(0), 1, ta))
		}
	}
	return b.passBroadcast(2, func() *ir.Value {
		if beta == 1 {
			return d
		}
		return b.op("Mul", d, b.num(dy0(b), float64(beta)))
	})
}

func softmaxRule(b *builder) error {
	axis, _, err := b.axisOf("axis", b.in(0))
	if err != nil {
		return err
	}
	dy, y := b.dy[0], b.out(0)
	if b.n.Is("LogSoftmax") {
		b.pass(0, b.op("Sub", dy, b.op("Mul", b.op("Exp", y), b.sum(dy, true, axis))))
	} else {
		b.pass(0, b.op("Mul", y, b.op("Sub", dy, b.sum(b.op("Mul", dy, y), true, axis))))
	}
	return nil
}
