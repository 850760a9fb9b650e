package infer_test

import (
	"fmt"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// chain is a model of n nodes: blocks of a convolution, its activation, and the shape arithmetic of a reshape that changes nothing.
func chain(n int) *ir.Model {
	m := ir.NewModel(10, 21)
	g := m.Main
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Static(8), ir.Symbol("H"), ir.Symbol("W")}))
	w := g.Const(ir.TensorOf(make([]float32, 8*8*9), 8, 8, 3, 3))
	v := x
	op := func(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
		return g.New(nil, ir.Op(typ), in, attrs...).Result(0)
	}
	for range n / 4 {
		c := op("Conv", []*ir.Value{v, w}, ir.IntsAttr("pads", []int64{1, 1, 1, 0}))
		r := op("Relu", []*ir.Value{c})
		s := op("Shape", []*ir.Value{r})
		v = op("Reshape", []*ir.Value{r, s})
	}
	g.AddOutput("y", v, nil)
	return m
}

func BenchmarkModel(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		m := chain(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				infer.Model(m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/node")
		})
	}
}

// TestLongExpressions: sizes that grow with depth are given new names, and what stays known is still known at the end.
func TestLongExpressions(t *testing.T) {
	m := chain(4000)
	r := infer.Model(m)
	v := m.Main.Outputs()[0].Value()
	d, ok := r.Dims(v)
	if !ok || len(d) != 4 || d[0].String() != "N" || !d[1].Is(8) || len(d[3].String()) > 200 {
		t.Fatalf("%v", d)
	}
}
