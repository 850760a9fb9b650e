// Package distill trains ONNX graphs: a student from labels, from a teacher, or both (Hinton et al., arXiv 1503.02531). A training step is
// itself a model, made by ops/grad, that any engine runs.
package distill

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/grad"
)

// Names of what a step has beside the student's own interface.
const (
	labelsName  = "distill.labels"
	teacherName = "distill.teacher"
	lossName    = "distill.loss"
	gradSuffix  = ".distill.grad"
)

// logits is the value whose softmax is the distribution of the first output: the output, or what it is the softmax of.
func logits(m *ir.Model) (*ir.Value, error) {
	if len(m.Main.Outputs()) == 0 {
		return nil, fmt.Errorf("the model has no output")
	}
	v := m.Main.Outputs()[0].Value()
	for n := v.Node(); n != nil && n.Is("Softmax", "LogSoftmax", "Identity"); n = v.Node() {
		v = n.Operand(0)
		if !n.Is("Identity") {
			break
		}
	}
	return v, nil
}

// trainable lists the names of the float32 weights of m: what products, convolutions, normalizations and their biases hold. The means
// and variances of batch normalization stay.
func trainable(m *ir.Model) []string {
	var names []string
	seen := map[*ir.Value]bool{}
	for _, n := range m.Main.NodeList() {
		from, to := 0, n.NumOperands()
		switch {
		case n.Is("MatMul", "Gemm", "Add", "Mul", "PRelu"):
		case n.Is("Conv", "ConvTranspose", "LayerNormalization"):
			from = 1
		case n.Is("BatchNormalization"):
			from, to = 1, 3
		default:
			continue
		}
		for i := from; i < to; i++ {
			v := n.Operand(i)
			if v == nil || !v.IsInitializer() || seen[v] || v.Name() == "" || v.Const().DType() != ir.Float32 || v.Const().Rank() == 0 {
				continue
			}
			seen[v] = true
			names = append(names, v.Name())
		}
	}
	return names
}

// step makes the training step of the student: with its weights, labels [N] and the teacher's logits [N,C] as inputs, the loss and its
// derivatives as outputs.
func step(student *ir.Model, o *Options, params []string) (*ir.Model, error) {
	m := student.Clone()
	z, err := logits(m)
	if err != nil {
		return nil, err
	}
	g := m.Main
	op := func(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
		return g.New(nil, ir.Op(typ), in, attrs...).Result(0)
	}
	list := func(v ...*ir.Value) []*ir.Value { return v }
	num := func(x float64) *ir.Value { return g.Const(ir.ScalarOf(float32(x))) }
	last := ir.IntAttr("axis", -1)
	mean := func(v *ir.Value) *ir.Value { return op("ReduceMean", list(v), ir.IntAttr("keepdims", 0)) }
	var terms []*ir.Value
	if o.CE != 0 {
		labels := g.AddInput(labelsName, ir.TensorType(ir.Int64, ir.Shape{ir.UnknownDim()}))
		axis := g.Const(ir.TensorOf([]int64{1}))
		chosen := op("GatherElements", list(op("LogSoftmax", list(z), last), op("Unsqueeze", list(labels, axis))), ir.IntAttr("axis", 1))
		terms = append(terms, op("Mul", list(mean(chosen), num(-o.CE))))
	}
	if o.Teacher != nil && o.KD != 0 {
		t := g.AddInput(teacherName, ir.TensorType(ir.Float32, ir.Shape{ir.UnknownDim(), ir.UnknownDim()}))
		soft := func(v *ir.Value) *ir.Value {
			return op("LogSoftmax", list(op("Div", list(v, num(o.Temperature)))), last)
		}
		lt, ls := soft(t), soft(z)
		kl := op("Mul", list(op("Exp", list(lt)), op("Sub", list(lt, ls))))
		row := op("ReduceSum", list(kl, g.Const(ir.TensorOf([]int64{-1}))), ir.IntAttr("keepdims", 0))
		terms = append(terms, op("Mul", list(mean(row), num(o.KD*o.Temperature*o.Temperature))))
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("there is nothing to learn from: neither labels nor a teacher have a weight")
	}
	loss := terms[0]
	if len(terms) > 1 {
		loss = op("Add", terms)
	}
	g.AddOutput(lossName, loss, ir.TensorType(ir.Float32, ir.StaticShape()))
	return m, grad.Append(m, grad.Options{Loss: lossName, Params: params, Inputs: true, Suffix: gradSuffix})
}
