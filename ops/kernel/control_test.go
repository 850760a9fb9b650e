package kernel

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/ir"
)

// TestLookupModels names the operators of the models that the project is measured on.
func TestLookupModels(t *testing.T) {
	for _, op := range strings.Fields(`Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv ConvInteger
		ConvTranspose DequantizeLinear Div Dropout Equal Erf Exp Expand Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity
		If LSTM Log MatMul MatMulInteger Max MaxPool Mul Neg Not Pad Pow QLinearConv QuantizeLinear Reciprocal ReduceMax ReduceMean
		ReduceMin ReduceSum Relu Reshape Resize Scan Shape Sigmoid Size Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Transpose
		Unsqueeze Where`) {
		if Lookup(ir.Op(op), 13) == nil {
			t.Errorf("no kernel for %s", op)
		}
	}
	if !Random(ir.Op("RandomNormal")) || Random(ir.Op("Add")) || Random(ir.OpID{Domain: "com.example", Type: "RandomNormal"}) {
		t.Error("Random")
	}
}

// loopCall is a call of Loop whose body has the given numbers of inputs and outputs and is evaluated by run.
func loopCall(ctx context.Context, inputs, outputs int, in []ir.Datum, run func(in []ir.Datum) []ir.Datum) *Call {
	m := ir.NewModel(10, 21)
	g := m.NewGraph("body")
	for range inputs {
		g.AddInput("", nil)
	}
	one := g.Const(ir.ScalarOf(float32(0)))
	for range outputs {
		g.AddOutput("", one, nil)
	}
	body := ir.GraphAttr("body", g)
	c := NewCall(ctx, ir.Op("Loop"), 21, func(name string) *ir.Attr {
		if name == "body" {
			return body
		}
		return nil
	}, in, outputs-1)
	c.Body = func(_ *ir.Graph, in []ir.Datum) ([]ir.Datum, error) { return run(in), nil }
	return c
}

func TestLoopCounts(t *testing.T) {
	always := boolTensor([]int64{}, []uint8{1})
	c := loopCall(context.Background(), 3, 3, []ir.Datum{ir.ScalarOf(int64(5)), nil, ir.ScalarOf(int64(0))}, func(in []ir.Datum) []ir.Datum {
		sum, _ := ints(in[2].(*ir.Tensor))
		i, _ := ints(in[0].(*ir.Tensor))
		return []ir.Datum{always, ir.ScalarOf(sum[0] + i[0]), in[0]}
	})
	out, err := loopOp(c)
	if err != nil {
		t.Fatal(err)
	}
	sum, _ := ints(out[0].(*ir.Tensor))
	rows, _ := ints(out[1].(*ir.Tensor))
	if sum[0] != 10 || len(rows) != 5 || rows[4] != 4 {
		t.Errorf("sum %v, rows %v", sum, rows)
	}
}

// TestLoopEnds: a loop without end stops with its context, and one that collects without end at its limit.
func TestLoopEnds(t *testing.T) {
	always := boolTensor([]int64{}, []uint8{1})
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer stop()
	c := loopCall(ctx, 2, 1, []ir.Datum{nil, nil}, func([]ir.Datum) []ir.Datum { return []ir.Datum{always} })
	if _, err := loopOp(c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
	row := ramp(1 << 10)
	c = loopCall(context.Background(), 2, 2, []ir.Datum{nil, nil}, func([]ir.Datum) []ir.Datum { return []ir.Datum{always, row} })
	c.Limit = 1 << 20
	if _, err := loopOp(c); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("error %v, want one about the limit", err)
	}
}
