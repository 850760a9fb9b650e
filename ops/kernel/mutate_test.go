package kernel_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// TestMutants evaluates the operators of the node tests, and those of com.microsoft, on broken operands and attributes: a kernel may fail, but it must not
// panic, exceed its limit or run on after its context has ended.
func TestMutants(t *testing.T) {
	tests := readArchive(t, nodeTests)
	maps.Copy(tests, readArchive(t, contribCases))
	names := make([]string, 0, len(tests))
	for n := range tests {
		names = append(names, n)
	}
	slices.Sort(names)
	rounds := 12
	if testing.Short() {
		rounds = 2
	}
	evaluated := 0
	for k, name := range names {
		f, err := onnxio.Read(tests[name]["model.onnx"], onnxio.Options{})
		if err != nil || f.Model.Main.NumNodes() != 1 {
			continue
		}
		n := f.Model.Main.NodeList()[0]
		opset := f.Model.Opset(n.Op().Domain)
		fn := kernel.Lookup(n.Op(), opset)
		if fn == nil || len(n.Subgraphs()) > 0 {
			continue
		}
		r := rand.New(rand.NewPCG(uint64(k), 7))
		for i := range rounds {
			in := operandsOf(tests[name], n)
			attr := n.Attr
			switch r.IntN(3) {
			case 0:
				attr = mutateAttrs(r, n)
			default:
				mutateOperand(r, in)
				if r.IntN(3) == 0 {
					mutateOperand(r, in)
				}
			}
			version := opset
			if r.IntN(4) == 0 {
				version = 1 + r.Int64N(opset)
			}
			evaluated++
			if err := evaluateMutant(fn, n, version, attr, in); err != nil {
				t.Errorf("%s, mutant %d, opset %d: %v\noperands %s", name, i, version, err, describe(in))
			}
		}
	}
	if evaluated < 1000 {
		t.Errorf("only %d mutants", evaluated)
	}
}

func operandsOf(files nodeTest, n *ir.Node) []ir.Datum {
	in := make([]ir.Datum, n.NumOperands())
	for i, v := range n.Operands() {
		for k, s := range n.Graph().Inputs() {
			if v != nil && s.Value() == v {
				in[i], _ = readDatum(files[fmt.Sprintf("input_%d.pb", k)], s.Type())
			}
		}
	}
	return in
}

func evaluateMutant(f kernel.Func, n *ir.Node, opset int64, attr func(string) *ir.Attr, in []ir.Datum) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, stop := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer stop()
	c := kernel.NewCall(ctx, n.Op(), opset, attr, in, n.NumResults())
	c.Limit = 1 << 22
	start := time.Now()
	out, _ := f(c)
	for _, d := range out {
		if t, ok := d.(*ir.Tensor); ok && t != nil && t.DType() != ir.String {
			if _, err := t.Bytes(); err != nil {
				return err
			}
		}
	}
	if d := time.Since(start); d > 3*time.Second {
		return fmt.Errorf("took %s", d)
	}
	return nil
}

var extremes = []int64{math.MinInt64, math.MaxInt64, -1, 0, 1, 2, -2, 1 << 40, -1 << 40, 1 << 31, 7, 65536}

// mutateOperand replaces one operand.
func mutateOperand(r *rand.Rand, in []ir.Datum) {
	if len(in) == 0 {
		return
	}
	i := r.IntN(len(in))
	t, ok := in[i].(*ir.Tensor)
	if !ok || t == nil {
		in[i] = ir.TensorOf([]float32{1, 2, 3})
		return
	}
	switch r.IntN(6) {
	case 0:
		in[i] = nil
	case 1: // another shape of as many elements
		if t.Len() > 0 {
			in[i] = t.Reshape([][]int64{{t.Len()}, {1, t.Len()}, {t.Len(), 1, 1}, {1, 1, 1, t.Len()}, {1, t.Len(), 1, 1, 1, 1}}[r.IntN(5)])
		}
	case 2: // zeros of another type
		d := ir.DType(1 + r.IntN(int(ir.Int2)))
		if d == ir.String {
			in[i] = ir.NewStringTensor(t.Shape(), make([]string, t.Len()))
		} else {
			in[i] = ir.NewTensor(d, t.Shape(), make([]byte, d.ByteLen(t.Len())))
		}
	case 3: // an empty dimension or a scalar
		shape := slices.Clone(t.Shape())
		if len(shape) == 0 {
			shape = []int64{0}
		} else {
			shape[r.IntN(len(shape))] = 0
		}
		if t.DType() != ir.String {
			in[i] = ir.NewTensor(t.DType(), shape, nil)
			if r.IntN(3) == 0 {
				in[i] = ir.NewTensor(t.DType(), []int64{}, make([]byte, t.DType().ByteLen(1)))
			}
		}
	default: // extreme values
		if b, err := t.Bytes(); err == nil {
			b = slices.Clone(b)
			if v, err := ir.Elements[int64](t); err == nil && t.DType() == ir.Int64 {
				v = slices.Clone(v)
				for k := range v {
					if r.IntN(2) == 0 {
						v[k] = extremes[r.IntN(len(extremes))]
					}
				}
				b = ir.AsBytes(v)
			} else {
				for k := range b {
					if r.IntN(3) == 0 {
						b[k] = byte(r.UintN(256))
					}
				}
			}
			in[i] = ir.NewTensor(t.DType(), t.Shape(), b)
		}
	}
}

// mutateAttrs changes the value of one attribute.
func mutateAttrs(r *rand.Rand, n *ir.Node) func(string) *ir.Attr {
	if len(n.Attrs()) == 0 {
		return n.Attr
	}
	old := n.Attrs()[r.IntN(len(n.Attrs()))]
	var a *ir.Attr
	x := extremes[r.IntN(len(extremes))]
	switch old.Kind {
	case ir.AttrInt:
		a = ir.IntAttr(old.Name, x)
	case ir.AttrInts:
		v := slices.Clone(old.Ints())
		if r.IntN(3) == 0 || len(v) == 0 {
			v = append(v, x)
		} else {
			v[r.IntN(len(v))] = x
		}
		a = ir.IntsAttr(old.Name, v)
	case ir.AttrFloat:
		a = ir.FloatAttr(old.Name, []float32{0, -1, float32(math.NaN()), float32(math.Inf(1)), 1e30}[r.IntN(5)])
	case ir.AttrString:
		a = ir.StringAttr(old.Name, "nonsense")
	}
	return func(name string) *ir.Attr {
		if name == old.Name {
			return a
		}
		return n.Attr(name)
	}
}

func describe(in []ir.Datum) string {
	s := ""
	for _, d := range in {
		if d == nil {
			s += " none"
		} else {
			s += " " + d.Type().String()
		}
	}
	return s
}
