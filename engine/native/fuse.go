package native

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// A convolution or matrix product limits its result while it is in registers where a single Relu or Clip follows. A limit rounds
// nothing, so the bits are those of the two nodes one after the other. The result of the first node is then never seen
// unlimited, which is why it must have one use and no tap.

// limits are lo..hi: elements below become lo, elements above hi, NaN stays.
type limits struct {
	lo, hi float32
	absent bool // a bound is absent, and stands for the largest finite float32
}

func relu() limits { return limits{hi: float32(math.Inf(1))} }

// following finds the limits that the only use of the node's result imposes.
func (s *site) following() (limits, bool) {
	v := s.Result(0)
	u, ok := v.OnlyUse()
	if !ok || s.tap[v] || u.Index != 0 || u.Node.Graph() != s.Graph() || u.Node.IsReturn() || u.Node.Op().Domain != "" || u.Node.HasRefs() {
		return limits{}, false
	}
	switch u.Node.Op().Type {
	case "Relu":
		return relu(), true
	case "Clip":
		l, ok := clipLimits(u.Node, s.opset)
		return l, ok && !l.absent
	}
	return limits{}, false
}

// clipLimits are the limits of a Clip, if they are known and in order.
func clipLimits(n *ir.Node, opset int64) (limits, bool) {
	l := limits{lo: -math.MaxFloat32, hi: math.MaxFloat32}
	for i, p := range []*float32{&l.lo, &l.hi} {
		if opset < 11 {
			name := []string{"min", "max"}[i]
			l.absent = l.absent || n.Attr(name) == nil
			*p = n.Float(name, *p)
			continue
		}
		v := n.Operand(i + 1)
		if v == nil {
			l.absent = true
			continue
		}
		t := v.Const()
		if t == nil || t.DType() != ir.Float32 || t.Len() != 1 {
			return l, false
		}
		e, err := ir.Elements[float32](t)
		if err != nil {
			return l, false
		}
		*p = e[0]
	}
	return l, l.lo <= l.hi // false for NaN
}

// markLimited notes that the result of this task is limited as the node after it asks.
func (t *task) markLimited() {
	if t.frame.limited == nil {
		t.frame.limited = map[int]bool{}
	}
	t.frame.limited[t.step.out[0]] = true
}

func prepareRelu(*site) executor { return limiter(relu()) }

func prepareClip(s *site) executor {
	l, ok := clipLimits(s.Node, s.opset)
	if !ok {
		return nil
	}
	return limiter(l)
}

// limiter applies limits. The sign of a zero stays.
func limiter(l limits) executor {
	return func(t *task) (*ir.Tensor, bool) {
		if t.frame.limited[t.step.in[0].slot] {
			x, ok := t.in[0].(*ir.Tensor)
			return x, ok
		}
		x, v, ok := t.float(0)
		if !ok || t.half && l.absent { // the largest finite float16 is another
			return nil, false
		}
		r, ok := t.over(0)
		if !ok {
			return nil, false
		}
		t.split(len(v), func(from, to int) { gemm.Clip(r[from:to], v[from:to], l.lo, l.hi) })
		return result(r, x.Shape())
	}
}
