// Package refit fits the weights of layers again after a model was made smaller, so that each gives what the original gave.
//
// Layers are visited in the order of the graph. Each is fitted by least squares, on what the smaller model, already fitted up to there, hands
// it, to what the layer of the original gave on the original's own data (the asymmetric reconstruction of He, Zhang and Sun, "Channel pruning
// for accelerating very deep neural networks", ICCV 2017, and Zhang, Zou, He and Sun, "Accelerating very deep convolutional networks for
// classification and detection", TPAMI 2016). Where a residual Add takes the result, the error that its other operand has by then is made
// good, too. Nothing is held but the values that nodes still to come need.
package refit

import (
	"fmt"
	"math/rand/v2"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// Layer is a node that multiplies with constant weights: Conv over one or two dimensions, MatMul or Gemm. As a problem of least squares it has
// Groups independent parts of n columns, the last of which is one for the bias, and m results.
type Layer struct {
	Node    *ir.Node
	X       *ir.Value // what is multiplied
	Y       *ir.Value // the result, the bias included
	Groups  int
	Inputs  int // channels of X in a group
	Outputs int // results of a group
	Kernel  int // places of the kernel: n is Inputs × Kernel + 1

	add        *ir.Node // the Add of a bias behind MatMul; nil: the bias is operand 2
	addOperand int
	transposed bool // Gemm: the weights are [N, K]
	window     window
	dtype      ir.DType
}

// window is the geometry of a convolution over height and width.
type window struct {
	conv           bool
	kh, kw         int
	sh, sw, dh, dw int
	top, left      int
	auto           string
}

// N is the number of columns of a group's problem.
func (l *Layer) N() int { return l.Inputs*l.Kernel + 1 }

// LayerOf sees whether n is a layer; why says what is missing.
func LayerOf(n *ir.Node) (l *Layer, why string) {
	if !n.Is("Conv", "MatMul", "Gemm") {
		return nil, "it is no convolution or product"
	}
	w := n.Operand(1).Const()
	switch {
	case w == nil:
		return nil, "its weights are computed"
	case !weights.Supported(w.DType()):
		return nil, fmt.Sprintf("its weights are of type %s", w.DType())
	case n.Operand(0).Const() != nil:
		return nil, "what it multiplies is a constant"
	}
	l = &Layer{Node: n, X: n.Operand(0), Y: n.Result(0), Groups: 1, Kernel: 1, dtype: w.DType()}
	s := w.Shape()
	switch n.Op().Type {
	case "Conv":
		return l.conv(s)
	case "Gemm":
		if len(s) != 2 || n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 {
			return nil, "it scales or transposes"
		}
		if c := n.Operand(2); c != nil && (c.Const() == nil || c.Const().Len() != max(s[0], s[1]) && c.Const().Len() != min(s[0], s[1]) || c.Const().Rank() > 2) {
			return nil, "its bias is no constant of the columns"
		}
		l.transposed = n.Int("transB", 0) != 0
	case "MatMul":
		if len(s) != 2 {
			return nil, "its weights are no matrix"
		}
		l.biasBehind(s[1])
	}
	l.Inputs, l.Outputs = int(s[0]), int(s[1])
	if l.transposed {
		l.Inputs, l.Outputs = l.Outputs, l.Inputs
	}
	if c := n.Operand(2); c != nil && n.Is("Gemm") && int(c.Const().Len()) != l.Outputs {
		return nil, "its bias is no constant of the columns"
	}
	return l, ""
}

// biasBehind takes the Add behind a MatMul as part of it.
func (l *Layer) biasBehind(n int64) {
	u, ok := l.Y.OnlyUse()
	if !ok || !u.Node.Is("Add") || u.Node.Graph() != l.Node.Graph() {
		return
	}
	b := u.Node.Operand(1 - u.Index).Const()
	if b == nil || b.Len() != n || b.Rank() < 1 || b.Shape()[b.Rank()-1] != n || !weights.Supported(b.DType()) {
		return
	}
	l.add, l.addOperand, l.Y = u.Node, 1-u.Index, u.Node.Result(0)
}

func (l *Layer) conv(s []int64) (*Layer, string) {
	n := l.Node
	if len(s) != 3 && len(s) != 4 {
		return nil, "it has more than two spatial dimensions"
	}
	if b := n.Operand(2); b != nil && b.Const() == nil {
		return nil, "its bias is computed"
	}
	two := func(name string) (h, w int) {
		h, w = 1, 1
		if v := n.Ints(name); len(v) == len(s)-2 {
			w = int(v[len(v)-1])
			if len(v) == 2 {
				h = int(v[0])
			}
		}
		return h, w
	}
	v := window{conv: true, kh: 1, kw: int(s[len(s)-1]), auto: n.Str("auto_pad", "NOTSET")}
	if len(s) == 4 {
		v.kh = int(s[2])
	}
	v.sh, v.sw = two("strides")
	v.dh, v.dw = two("dilations")
	if p := n.Ints("pads"); v.auto == "NOTSET" && len(p) == 2*(len(s)-2) {
		v.left = int(p[len(p)/2-1])
		if len(p) == 4 {
			v.top = int(p[0])
		}
	}
	l.window = v
	l.Groups = int(n.Int("group", 1))
	if l.Groups < 1 || s[0]%int64(l.Groups) != 0 {
		return nil, "its groups do not divide its channels"
	}
	l.Inputs, l.Outputs, l.Kernel = int(s[1]), int(s[0])/l.Groups, v.kh*v.kw
	return l, ""
}

// Bias is the constant that is added, nil if there is none.
func (l *Layer) Bias() *ir.Tensor {
	switch {
	case l.add != nil:
		return l.add.Operand(l.addOperand).Const()
	default:
		return l.Node.Operand(2).Const()
	}
}

// HasBias reports whether the layer can take a bias: it has one, or its operator has a place for it.
func (l *Layer) HasBias() bool { return l.add != nil || !l.Node.Is("MatMul") }

// Weights are the weights by group, n by m, the bias last.
func (l *Layer) Weights() ([]linalg.Matrix[float64], error) {
	w, err := weights.Floats(l.Node.Operand(1).Const())
	if err != nil {
		return nil, err
	}
	var b []float64
	if t := l.Bias(); t != nil {
		if b, err = weights.Floats(t); err != nil {
			return nil, err
		}
	}
	n, m := l.N(), l.Outputs
	r := make([]linalg.Matrix[float64], l.Groups)
	for g := range r {
		r[g] = linalg.New[float64](n, m)
		for o := range m {
			for i := range n - 1 {
				r[g].Data[i*m+o] = w[l.at(g, i, o)]
			}
			if b != nil {
				r[g].Data[(n-1)*m+o] = b[g*m+o]
			}
		}
	}
	return r, nil
}

// at is the place of weight (i, o) of group g in the tensor.
func (l *Layer) at(g, i, o int) int {
	n, m := l.N()-1, l.Outputs
	if l.window.conv || l.transposed {
		return (g*m+o)*n + i
	}
	return i*m + o
}

// Set writes weights and bias.
func (l *Layer) Set(r []linalg.Matrix[float64]) error {
	n, m := l.N(), l.Outputs
	w, b := make([]float64, l.Groups*m*(n-1)), make([]float64, l.Groups*m)
	any := false
	for g := range r {
		for o := range m {
			for i := range n - 1 {
				w[l.at(g, i, o)] = r[g].Data[i*m+o]
			}
			b[g*m+o] = r[g].Data[(n-1)*m+o]
			any = any || b[g*m+o] != 0
		}
	}
	t, err := weights.Round(l.dtype, l.Node.Operand(1).Const().Shape(), w)
	if err != nil {
		return err
	}
	old := l.Bias()
	shape := []int64{int64(len(b))}
	if old != nil {
		shape = old.Shape()
	}
	var bias *ir.Tensor
	if old != nil || any && l.HasBias() {
		if bias, err = weights.Round(l.dtype, shape, b); err != nil {
			return err
		}
	}
	replace(l.Node, 1, t)
	switch {
	case bias == nil:
	case l.add != nil:
		replace(l.add, l.addOperand, bias)
	default:
		for l.Node.NumOperands() < 3 {
			l.Node.AddOperand(nil)
		}
		replace(l.Node, 2, bias)
	}
	return nil
}

// replace makes operand i of n a new constant, named as the old one.
func replace(n *ir.Node, i int, t *ir.Tensor) {
	old, name := n.Operand(i), ""
	if old != nil {
		name = old.Name()
	}
	n.SetOperand(i, n.Graph().NamedConst(name, t))
	if old == nil || old.NumUses() > 0 {
		return
	}
	if d := old.Node(); d != nil {
		d.Graph().Erase(d)
	} else if old.IsInitializer() {
		old.Graph().EraseConst(old)
	}
}

// Places chooses at most k rows of a result at random, all if there are no more: pixels of an image, or rows of a matrix.
func (l *Layer) Places(y []int64, k int, rng *rand.Rand) []int {
	n := l.rows(y)
	if n <= k {
		r := make([]int, n)
		for i := range r {
			r[i] = i
		}
		return r
	}
	r := rng.Perm(n)[:k]
	return r
}

// rows is the number of rows that a result of shape y has.
func (l *Layer) rows(y []int64) int {
	if l.window.conv {
		return int(y[0] * ir.NumElements(y[2:]))
	}
	return int(ir.NumElements(y[:len(y)-1]))
}

// Targets copies the rows of a result, y of shape: the m results of group g, of which keep lists the places in y (nil: as they stand).
func (l *Layer) Targets(y []float32, shape []int64, places []int, g int, keep []int, out []float64) {
	m := l.Outputs
	if !l.window.conv {
		c := int(shape[len(shape)-1])
		for r, p := range places {
			for o := range m {
				k := o
				if keep != nil {
					k = keep[o]
				}
				out[r*m+o] = float64(y[p*c+k])
			}
		}
		return
	}
	c, hw := int(shape[1]), int(ir.NumElements(shape[2:]))
	for r, p := range places {
		base := p / hw * c * hw
		for o := range m {
			k := g*m + o
			if keep != nil {
				k = keep[k]
			}
			out[r*m+o] = float64(y[base+k*hw+p%hw])
		}
	}
}

// Rows copies what the rows are computed of: for each place the n columns of group g. y is the shape of the result.
func (l *Layer) Rows(x []float32, shape, y []int64, places []int, g int, out []float64) {
	n := l.N()
	if !l.window.conv {
		for r, p := range places {
			row := out[r*n:][:n]
			for i, v := range x[p*(n-1):][:n-1] {
				row[i] = float64(v)
			}
			row[n-1] = 1
		}
		return
	}
	v := l.window
	c, h, w := int(shape[1]), 1, int(shape[len(shape)-1])
	oh, ow := 1, int(y[len(y)-1])
	if len(shape) == 4 {
		h, oh = int(shape[2]), int(y[2])
	}
	top, left := v.top, v.left
	if v.auto == "SAME_UPPER" || v.auto == "SAME_LOWER" {
		top, left = same(v.auto, h, oh, v.kh, v.sh, v.dh), same(v.auto, w, ow, v.kw, v.sw, v.dw)
	}
	for r, p := range places {
		row := out[r*n:][:n]
		row[n-1] = 1
		img, at := p/(oh*ow), p%(oh*ow)
		y0, x0 := at/ow*v.sh-top, at%ow*v.sw-left
		k := 0
		for i := range l.Inputs {
			plane := x[(img*c+g*l.Inputs+i)*h*w:][:h*w]
			for dy := range v.kh {
				yy := y0 + dy*v.dh
				for dx := range v.kw {
					xx := x0 + dx*v.dw
					row[k] = 0
					if yy >= 0 && yy < h && xx >= 0 && xx < w {
						row[k] = float64(plane[yy*w+xx])
					}
					k++
				}
			}
		}
	}
}

// same is the padding before the first element that auto_pad stands for.
func same(mode string, in, out, k, s, d int) int {
	total := max((out-1)*s+(k-1)*d+1-in, 0)
	if mode == "SAME_LOWER" {
		return total - total/2
	}
	return total / 2
}
