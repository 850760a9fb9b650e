package infer

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// inferRange: the number of steps from start to limit.
func inferRange(c *call) {
	r := vector(1)
	c.set(0, r)
	if len(c.data(0)) != 1 || len(c.data(1)) != 1 || len(c.data(2)) != 1 {
		return
	}
	start, limit, delta := c.data(0)[0], c.data(1)[0], c.data(2)[0]
	a, ok := start.value()
	b, ok2 := limit.value()
	s, ok3 := delta.value()
	switch {
	case ok3 && s == 0:
		c.errorf("delta is 0")
	case ok && ok2 && ok3 && (start.isNum || limit.isNum || delta.isNum):
		if n := math.Ceil((b - a) / s); n < 1<<53 && n == n {
			r[0] = Num(int64(max(0, n)))
		}
	case start.isNum || limit.isNum || delta.isNum || !delta.known:
	default:
		if k, number := delta.Const(); number && k < 0 {
			r[0] = start.Sub(limit.Int).Max(Num(0)).CeilDiv(delta.Neg())
		} else if number {
			r[0] = limit.Sub(start.Int).Max(Num(0)).CeilDiv(delta.Int)
			if limit.size && start.Is(0) && k == 1 {
				r[0] = limit.Int
			}
		}
		c.rangeData(r[0], start, delta)
	}
}

func (c *call) rangeData(n Int, start, delta elem) {
	k, ok := n.Const()
	if !ok || k > maxData || c.elem(0) == ir.Undefined {
		return
	}
	data := make([]elem, k)
	for i := range data {
		data[i] = elem{Int: start.Add(delta.Mul(Num(int64(i))))}
	}
	c.setData(0, data)
}
