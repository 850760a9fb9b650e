// Package distill trains ONNX graphs: a student from labels, from a teacher, or both (Hinton et al., arXiv 1503.02531). A training step is
// itself a model, made by ops/grad, that any engine runs. Quantized students learn behind their quantizers, scales included (Esser et al.,
// arXiv 1902.08153); students may match the tensors of their teacher, too (Romero et al., arXiv 1412.6550).
package distill

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// Names of what a step has beside the student's own interface.
const (
	ownPrefix     = "distill."
	labelsName    = ownPrefix + "labels"
	teacherName   = ownPrefix + "teacher"
	featurePrefix = ownPrefix + "feature."
	lossName      = ownPrefix + "loss"
	scoresName    = ownPrefix + "scores"
	gradSuffix    = ".distill.grad"
	nextSuffix    = ".distill.next"
)

func ours(name string) bool {
	return strings.HasPrefix(name, ownPrefix) || strings.HasSuffix(name, gradSuffix) || strings.HasSuffix(name, nextSuffix)
}

// logits is the value whose softmax is the distribution of the first output: what the output is the softmax of, behind quantizers too, or
// the output, before it is quantized.
func logits(m *ir.Model) (*ir.Value, error) {
	if len(m.Main.Outputs()) == 0 {
		return nil, fmt.Errorf("the model has no output")
	}
	out := m.Main.Outputs()[0].Value()
	for v := out; v.Node() != nil; v = v.Node().Operand(0) {
		if v.Node().Is("Softmax", "LogSoftmax") {
			return v.Node().Operand(0), nil
		}
		if !v.Node().Is("Identity", "QuantizeLinear", "DequantizeLinear", "Cast") {
			break
		}
	}
	for out.Node() != nil && out.Node().Is("Identity", "QuantizeLinear") {
		out = out.Node().Operand(0)
	}
	return out, nil
}

// loss adds the loss to m, a copy of the student: inputs are the distributions of labels [N,C], the teacher's scores and its tensors, outputs
// the loss and the student's scores.
func (t *trainee) loss(m *ir.Model) error {
	z, err := logits(m)
	if err != nil {
		return err
	}
	o, g := t.o, m.Main
	op := func(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
		return g.New(nil, ir.Op(typ), in, attrs...).Result(0)
	}
	list := func(v ...*ir.Value) []*ir.Value { return v }
	num := func(x float64) *ir.Value { return g.Const(ir.ScalarOf(float32(x))) }
	last := ir.IntAttr("axis", -1)
	mean := func(v *ir.Value) *ir.Value { return op("ReduceMean", list(v), ir.IntAttr("keepdims", 0)) }
	rows := func(v *ir.Value) *ir.Value {
		return op("ReduceSum", list(v, g.Const(ir.TensorOf([]int64{-1}))), ir.IntAttr("keepdims", 0))
	}
	types := infer.Model(m)
	g.AddOutput(scoresName, op("Identity", list(z)), nil)
	var terms []*ir.Value
	if o.CE != 0 {
		labels := g.AddInput(labelsName, ir.TensorType(ir.Float32, ir.Shape{ir.UnknownDim(), ir.UnknownDim()}))
		chosen := rows(op("Mul", list(op("LogSoftmax", list(z), last), labels)))
		terms = append(terms, op("Mul", list(mean(chosen), num(-o.CE))))
	}
	if o.Teacher != nil && o.KD != 0 {
		shape := make(ir.Shape, len(types.Type(z).TensorShape()))
		for i := range shape {
			shape[i] = ir.UnknownDim()
		}
		if types.Type(z).TensorShape() == nil {
			return fmt.Errorf("the rank of the student's first output is not known")
		}
		scores := g.AddInput(teacherName, ir.TensorType(ir.Float32, shape))
		soft := func(v *ir.Value) *ir.Value {
			return op("LogSoftmax", list(op("Div", list(v, num(o.Temperature)))), last)
		}
		lt, ls := soft(scores), soft(z)
		kl := rows(op("Mul", list(op("Exp", list(lt)), op("Sub", list(lt, ls)))))
		terms = append(terms, op("Mul", list(mean(kl), num(o.KD*o.Temperature*o.Temperature))))
	}
	if len(t.twins) > 0 {
		values := valuesOf(m)
		for i, p := range t.twins {
			v := values[p.name]
			in := g.AddInput(fmt.Sprint(featurePrefix, i), types.Type(v).WithoutSymbols())
			d := op("Sub", list(v, in))
			terms = append(terms, op("Mul", list(mean(op("Mul", list(d, d))), num(o.Feature/p.variance/float64(len(t.twins))))))
		}
	}
	loss := terms[0]
	for _, e := range terms[1:] {
		loss = op("Add", list(loss, e))
	}
	g.AddOutput(lossName, loss, ir.TensorType(ir.Float32, ir.StaticShape()))
	return nil
}

// valuesOf are the results of the nodes of m by name.
func valuesOf(m *ir.Model) map[string]*ir.Value {
	r := map[string]*ir.Value{}
	for _, n := range m.Main.NodeList() {
		for _, v := range n.Results() {
			if v != nil && v.Name() != "" {
				r[v.Name()] = v
			}
		}
	}
	return r
}
