package infer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestNeverPanics infers models of the conformance tests whose inputs, operands and attributes were made wrong at random.
func TestNeverPanics(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 9))
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	try := func(name string, files map[string][]byte) {
		for round := range rounds {
			m := read(t, name, files["model.onnx"])
			damage(m, rng)
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s, round %d: %v", name, round, p)
						panic(p)
					}
				}()
				r := infer.Model(m)
				ops.Problems(m, r, 0)
				infer.Annotate(m, r)
			}()
		}
	}
	nodeTests(t, try)
	modelTests(t, try)
}

// damage changes a model at random so that it stays sound as a graph but makes no sense.
func damage(m *ir.Model, rng *rand.Rand) {
	odd := []int64{0, 1, -1, 2, 3, 7, -8, 1 << 40, -1 << 63, 1<<63 - 1}
	number := func() int64 { return odd[rng.IntN(len(odd))] }
	shape := func() ir.Shape {
		if rng.IntN(4) == 0 {
			return nil
		}
		s := make(ir.Shape, rng.IntN(6))
		for i := range s {
			s[i] = []ir.Dim{ir.Static(int64(rng.IntN(5))), ir.Symbol("N"), ir.Symbol("a+b"), ir.UnknownDim(), ir.Static(1 << 62)}[rng.IntN(5)]
		}
		return s
	}
	for _, in := range m.Main.Inputs() {
		switch t := in.Type(); {
		case rng.IntN(2) == 0 || t == nil:
		case rng.IntN(4) == 0:
			in.SetType([]*ir.Type{nil, {}, ir.SequenceOf(nil), ir.OptionalOf(t), ir.SequenceOf(t)}[rng.IntN(5)])
		default:
			in.SetType(ir.TensorType(ir.DType(rng.IntN(28)), shape()))
		}
	}
	for n := range m.Nodes() {
		if rng.IntN(4) == 0 {
			m.SetOpset(n.Op().Domain, int64(1+rng.IntN(28)))
		}
		for _, a := range slices.Clone(n.Attrs()) {
			if rng.IntN(3) != 0 || a.Ref != "" {
				continue
			}
			switch a.Kind {
			case ir.AttrInt:
				n.SetAttr(ir.IntAttr(a.Name, number()))
			case ir.AttrInts:
				v := make([]int64, rng.IntN(6))
				for i := range v {
					v[i] = number()
				}
				n.SetAttr(ir.IntsAttr(a.Name, v))
			case ir.AttrString:
				n.SetAttr(ir.StringAttr(a.Name, fmt.Sprint("x", number())))
			case ir.AttrTensor:
				n.SetAttr(ir.TensorAttr(a.Name, ir.TensorOf([]int64{number(), number()})))
			case ir.AttrGraph:
			default:
				n.RemoveAttr(a.Name)
			}
		}
		for i := range n.NumOperands() {
			switch rng.IntN(12) {
			case 0:
				n.SetOperand(i, nil)
			case 1:
				n.SetOperand(i, n.Graph().Const(ir.TensorOf([]int64{number(), number(), number()}, int64(3))))
			case 2:
				n.SetOperand(i, n.Graph().Const(ir.TensorOf([]float32{float32(number()), 0.5}, int64(2))))
			}
		}
		if n.NumOperands() > 0 && rng.IntN(12) == 0 {
			n.RemoveOperand(n.NumOperands() - 1)
		}
		if rng.IntN(12) == 0 {
			n.AddOperand(n.Graph().Const(ir.ScalarOf(number())))
		}
	}
}
