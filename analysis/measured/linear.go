package measured

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// Linear is a node seen as a matrix product: each row of its result, the channels at one position, is a row of its input (for a
// convolution: the window at that position) times the weights, plus a bias. A grouped convolution is one such product for each
// group.
//
// It takes Conv of one to three spatial dimensions, Gemm, MatMul with weights on the right, and ConvTranspose whose windows do not
// overlap.
type Linear struct {
	Node *ir.Node
	// Groups is the number of products; each has In columns and Out results.
	Groups, In, Out int
	kind            linearKind
	shape           []int64 // of the weights
	dtype           ir.DType
	alpha           float64 // of Gemm
	window          window  // of Conv
}

type linearKind uint8

const (
	conv linearKind = iota
	gemmPlain
	gemmTransposed
	matMul
	convTranspose
)

// LinearOf sees n as a matrix product; the error, which completes "because", says why it cannot be. Weights have to be constants of
// a floating-point type, not NaN or infinite.
func LinearOf(n *ir.Node) (*Linear, error) {
	l := &Linear{Node: n, Groups: 1, alpha: 1}
	if !n.Is("Conv", "Gemm", "MatMul", "ConvTranspose") {
		return nil, fmt.Errorf("it is a %s and no Conv, ConvTranspose, Gemm or MatMul", n.Op().Type)
	}
	if n.HasRefs() {
		return nil, fmt.Errorf("its attributes are those of a function")
	}
	if n.NumOperands() < 2 || n.Operand(1) == nil || n.Operand(1).Const() == nil {
		return nil, fmt.Errorf("its weights are computed")
	}
	w := n.Operand(1).Const()
	l.shape, l.dtype = w.Shape(), w.DType()
	if !weights.Supported(l.dtype) {
		return nil, fmt.Errorf("its weights are of type %s", l.dtype)
	}
	if slices.Contains(l.shape, 0) {
		return nil, fmt.Errorf("its weights are empty")
	}
	if n.NumOperands() > 2 && n.Operand(2) != nil {
		if n.Operand(2).Const() == nil {
			return nil, fmt.Errorf("its bias is computed")
		}
	}
	return l, l.describe()
}

// describe fills in what depends on the operator.
func (l *Linear) describe() error {
	n, s := l.Node, l.shape
	switch n.Op().Type {
	case "Conv":
		if len(s) < 3 || len(s) > 5 {
			return fmt.Errorf("its weights have %d dimensions", len(s))
		}
		l.Groups = int(n.Int("group", 1))
		if l.Groups < 1 || int(s[0])%l.Groups != 0 {
			return fmt.Errorf("%d output channels do not divide into %d groups", s[0], l.Groups)
		}
		l.In, l.Out = int(ir.NumElements(s[1:])), int(s[0])/l.Groups
		l.window = windowOf(n, s[2:])
	case "ConvTranspose":
		l.kind = convTranspose
		l.window = windowOf(n, s[2:])
		if err := l.window.apart(n); err != nil {
			return err
		}
		l.In, l.Out = int(s[0]), int(ir.NumElements(s[1:]))
	case "Gemm":
		if len(s) != 2 {
			return fmt.Errorf("its weights have %d dimensions", len(s))
		}
		if n.Int("transA", 0) != 0 {
			return fmt.Errorf("its input is transposed")
		}
		l.alpha = float64(n.Float("alpha", 1))
		if l.alpha == 0 {
			return fmt.Errorf("its alpha is zero")
		}
		l.kind, l.In, l.Out = gemmPlain, int(s[0]), int(s[1])
		if n.Int("transB", 0) != 0 {
			l.kind, l.In, l.Out = gemmTransposed, int(s[1]), int(s[0])
		}
	default:
		if len(s) != 2 {
			return fmt.Errorf("its weights have %d dimensions", len(s))
		}
		l.kind, l.In, l.Out = matMul, int(s[0]), int(s[1])
	}
	return nil
}

// Channels is the number of channels of the result.
func (l *Linear) Channels() int {
	if l.kind == convTranspose {
		return int(l.shape[1])
	}
	return l.Groups * l.Out
}

// Taps is the number of places in a window of the input: each input channel is so many neighbouring columns.
func (l *Linear) Taps() int {
	if l.kind == conv {
		return l.In / int(l.shape[1])
	}
	return 1
}

// Inputs is the number of input channels of a group.
func (l *Linear) Inputs() int { return l.In / l.Taps() }

// Result is the value that the layer gives, its bias included where that is in an Add behind a MatMul.
func (l *Linear) Result() *ir.Value {
	if _, at := l.biasOperand(); at != nil && at != l.Node {
		return at.Result(0)
	}
	return l.Node.Result(0)
}

// place is where element (i, j) of the matrix of group g stands in the weights.
func (l *Linear) place(g, i, j int) int {
	switch l.kind {
	case conv:
		return (g*l.Out+j)*l.In + i
	case gemmTransposed:
		return j*l.In + i
	}
	return i*l.Out + j // weights [C, M, kernel...] of a ConvTranspose are that, too
}

// Weights are the matrices of the groups, each In+1 by Out: the last row is the bias, zero where there is none.
func (l *Linear) Weights() ([]linalg.Matrix[float64], error) {
	v, err := weights.Floats(l.Node.Operand(1).Const())
	if err != nil {
		return nil, err
	}
	if !linalg.Finite(v) {
		return nil, fmt.Errorf("its weights hold NaN or an infinity")
	}
	bias, err := l.bias()
	if err != nil {
		return nil, err
	}
	r := make([]linalg.Matrix[float64], l.Groups)
	per := l.perChannel()
	for g := range r {
		m := linalg.New[float64](l.In+1, l.Out)
		for i := range l.In {
			for j := range l.Out {
				m.Data[i*l.Out+j] = l.alpha * v[l.place(g, i, j)]
			}
		}
		if bias != nil {
			for j := range l.Out {
				m.Data[l.In*l.Out+j] = bias[(g*l.Out+j)/per]
			}
		}
		r[g] = m
	}
	return r, nil
}

// perChannel is how many columns of the matrix share a bias.
func (l *Linear) perChannel() int {
	if l.kind == convTranspose {
		return l.Out / int(l.shape[1])
	}
	return 1
}

// bias is the constant that the node, or the Add behind a MatMul, adds to each channel; nil where there is none.
func (l *Linear) bias() ([]float64, error) {
	v, _ := l.biasOperand()
	if v == nil {
		return nil, nil
	}
	b, err := weights.Floats(v.Const())
	if err != nil {
		return nil, err
	}
	if !linalg.Finite(b) {
		return nil, fmt.Errorf("its bias holds NaN or an infinity")
	}
	r := make([]float64, l.Channels())
	beta := 1.0
	if l.Node.Is("Gemm") {
		beta = float64(l.Node.Float("beta", 1))
	}
	switch len(b) {
	case 1:
		for i := range r {
			r[i] = beta * b[0]
		}
	case len(r):
		for i := range r {
			r[i] = beta * b[i]
		}
	default:
		return nil, fmt.Errorf("its bias has %d elements for %d channels", len(b), len(r))
	}
	return r, nil
}

// biasOperand is the bias and the node that adds it: the node itself, or the only Add behind a MatMul if it adds a constant row.
func (l *Linear) biasOperand() (*ir.Value, *ir.Node) {
	if l.kind != matMul {
		if l.Node.NumOperands() > 2 {
			return l.Node.Operand(2), l.Node
		}
		return nil, l.Node
	}
	use, ok := l.Node.Result(0).OnlyUse()
	if !ok || !use.Node.Is("Add") || use.Node.Graph() != l.Node.Graph() {
		return nil, nil
	}
	v := use.Node.Operand(1 - use.Index)
	if v == nil || v.Const() == nil || v.Const().Rank() != 1 || v.Const().Len() != int64(l.Out) {
		return nil, nil
	}
	return v, use.Node
}

// SetWeights gives the node other matrices of the same sizes. Constants that others share stay as they are for those.
func (l *Linear) SetWeights(m []linalg.Matrix[float64]) error {
	v := make([]float64, ir.NumElements(l.shape))
	bias := make([]float64, l.Channels())
	per := l.perChannel()
	for g, w := range m {
		for i := range l.In {
			for j := range l.Out {
				v[l.place(g, i, j)] = w.Data[i*l.Out+j] / l.alpha
			}
		}
		for j := range l.Out {
			bias[(g*l.Out+j)/per] += w.Data[l.In*l.Out+j] / float64(per)
		}
	}
	t, err := weights.Round(l.dtype, l.shape, v)
	if err != nil {
		return err
	}
	b, err := weights.Round(l.dtype, []int64{int64(len(bias))}, bias)
	if err != nil {
		return err
	}
	g := l.Node.Graph()
	replace := func(n *ir.Node, at int, t *ir.Tensor) {
		var old *ir.Value
		if at < n.NumOperands() {
			old = n.Operand(at)
		}
		name := ""
		if old != nil {
			name = old.Name()
		}
		c := g.NamedConst(name, t)
		if at < n.NumOperands() {
			n.SetOperand(at, c)
		} else {
			n.AddOperand(c)
		}
		if old != nil {
			Drop(old)
		}
	}
	old, at := l.biasOperand()
	replace(l.Node, 1, t)
	zero := !slices.ContainsFunc(bias, func(x float64) bool { return x != 0 })
	switch {
	case at == nil || (zero && old == nil):
	case at == l.Node:
		if l.Node.Is("Gemm") {
			l.Node.RemoveAttr("beta")
		}
		replace(l.Node, 2, b)
	default: // the Add behind a MatMul
		replace(at, slices.Index(at.Operands(), old), b)
	}
	return nil
}

// Drop erases a constant that nothing uses any more: an initializer, or a Constant node.
func Drop(v *ir.Value) {
	switch n := v.Node(); {
	case v.Dead() || v.NumUses() > 0:
	case v.IsInitializer():
		v.Graph().EraseConst(v)
	case n != nil && n.Is("Constant") && !n.Used():
		n.Graph().Erase(n)
	}
}
