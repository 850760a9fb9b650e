// Package gemmmuladd folds arithmetic beside a matrix product with constant weights into these and the bias.
package gemmmuladd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/convfold"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass folds Mul, Div, Add, Sub and BatchNormalization behind a Gemm or MatMul, and Mul and Div before it, into its constants.
var Pass = rewrite.Define(passes.Info{
	Name: "gemm-mul-add",
	Doc:  "folds arithmetic with constants beside a matrix product into its weights and bias",
}, after, shift, norm, bias, before)

var tolerance = passes.Promise{RelTol: 1e-4}

// Each column of a product x·w + c is the sum of a column of w, so that (x·w + c)*s = x·(w*s) + c*s for a number s of each column. Attention
// scales its queries so, behind the projection, in the exports of Hugging Face's models (OPT, BART, Whisper).
//
//	x ── Gemm ── Mul ──   becomes   x ── Gemm ──
var after = &rewrite.Rule{
	Name:    "product-mul",
	Doc:     "folds Mul or Div by a constant for each column into the weights and bias of the Gemm or MatMul before it",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		y = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (x, w: const, b?: const)
		z = {Mul, Div} (y, c: const)`, `
		y = MatMul (x, w: const)
		z = {Mul, Div} (y, c: const)`),
	Where:   arithmetic,
	Replace: replace,
}

// PyTorch exports a learned offset behind nn.Linear so, and tf2onnx the second half of a normalization that was taken apart:
//
//	x ── Gemm ── Add ──   becomes   x ── Gemm ──
var shift = &rewrite.Rule{
	Name:    "gemm-add",
	Doc:     "folds Add or Sub of a constant for each column into the bias of the Gemm before it",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		y = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (x, w: const, b?: const)
		z = {Add, Sub} (y, c: const)`, `
		y = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (x, w: const, b?: const)
		z = Sub (c: const, y)`),
	Where:   arithmetic,
	Replace: replace,
}

// Batch normalization of a matrix has the columns for channels (Ioffe and Szegedy 2015). PyTorch (BatchNorm1d) and Keras
// export it behind a linear layer:
//
//	x ── Gemm ── BatchNormalization ──   becomes   x ── Gemm ──
var norm = &rewrite.Rule{
	Name:    "gemm-bn",
	Doc:     "folds an inference BatchNormalization into the Gemm, or the MatMul of two matrices, before it",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		y = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (x, w: const, b?: const)
		z = BatchNormalization `+affine.Attributes+` (y, scale: const, bias: const, mean: const, var: const)`, `
		y = MatMul (x, w: const)
		z = BatchNormalization `+affine.Attributes+` (y, scale: const, bias: const, mean: const, var: const)`),
	Where: func(m *rewrite.Match) error {
		p, err := read(m)
		if err != nil {
			return err
		}
		if x := m.Shape("x"); len(x) != 2 {
			return fmt.Errorf("the first operand has shape %s, not surely that of a matrix", x)
		}
		bn, err := affine.ReadNorm(m.Root(), p.columns)
		if err != nil {
			return convfold.Refuse(m, err)
		}
		scale, shift := bn.Affine()
		return p.keep(m, scale, shift)
	},
	Replace: replace,
}

// bias is for what is no constant, or has a number for each element: a residual connection, or the Sum that PyTorch before 1.0 and Caffe2 wrote.
//
//	x ── Gemm ── Add c ──   becomes   x, c ── Gemm ──
var bias = &rewrite.Rule{
	Name:    "gemm-bias",
	Doc:     "makes what is added to a Gemm without bias its bias",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		y = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (x, w)
		z = {Add, Sum} (y, c)`, `
		y = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (x, w)
		z = Sum (c, y)`),
	Where: func(m *rewrite.Match) error {
		if m.Opset("") < 7 {
			return errors.New("Gemm does not broadcast by itself before opset 7")
		}
		y, c := m.Shape("y"), m.Shape("c")
		if !c.Known() || len(y) != 2 || len(c) > 2 {
			return fmt.Errorf("%s is added to %s", c, y)
		}
		for i, d := range c {
			if !d.Same(ir.Static(1)) && !d.Same(y[i+2-len(c)]) {
				return fmt.Errorf("c has shape %s, which does not surely broadcast to %s", c, y)
			}
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Like(m.Node("y"), []*ir.Value{m.Value("x"), m.Value("w"), m.Value("c")}, unitBeta(m))}
	},
}

// before: (x*s)·w = x·(w*s) for a number s of each row of w. A product or quotient before it may be the end of an activation or a normalization,
// as the half of Gelu and the scale of RMS normalization are, which runtimes know as a whole: those keep it. T5 as PyTorch exports
// it scales what goes into its output layer so.
//
//	x ── Mul ── MatMul ──   becomes   x ── MatMul ──
var before = &rewrite.Rule{
	Name:    "mul-product",
	Doc:     "folds Mul or Div by a constant for each row of the weights of the Gemm or MatMul behind it into these",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		y = {Mul, Div} (x, c: const)
		z = Gemm <alpha = @alpha, beta = @beta, transA = @ta, transB = @tb> (y, w: const, b?)`, `
		y = {Mul, Div} (x, c: const)
		z = MatMul (y, w: const)`),
	Where: func(m *rewrite.Match) error {
		p, err := read(m)
		if err != nil {
			return err
		}
		w, axis := m.Const("w"), 1-p.axis
		rows := w.Shape()[axis]
		x := m.Shape("x")
		c := m.Const("c")
		switch {
		case ends(m.Value("x")):
			return errEnd
		case p.gemm && m.Attr("ta").Int() != 0 && c.Len() != 1:
			return errors.New("the first operand is transposed")
		case c.Len() != 1 && (len(x) == 0 || !x[len(x)-1].Same(ir.Static(rows))):
			return fmt.Errorf("x has shape %s, not surely %d places along its last axis", x, rows)
		}
		scale, _, err := affine.ReadLast(m.Node("y"), m.Value("x"), rows, rank(x))
		if err != nil {
			return convfold.Refuse(m, err)
		}
		p.weight, err = weights.ScaleAxis(w, axis, scale)
		m.Keep = p
		return convfold.Refuse(m, err)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		p := m.Keep.(*product)
		in := slices.Clone(m.Root().Operands())
		in[0] = m.Value("x")
		if p.weight != m.Const("w") {
			in[1] = b.Const(m.Value("w").Name(), p.weight)
		}
		return []*ir.Value{b.Like(m.Root(), in)}
	},
}

var errEnd = errors.New("it may be the end of an activation or normalization, which a runtime knows as a whole")

// ends reports whether x is a product or quotient itself.
func ends(x *ir.Value) bool {
	n := x.Node()
	return n != nil && n.Is("Mul", "Div")
}

// product is a Gemm or MatMul with constant weights.
type product struct {
	gemm         bool
	axis         int // of the weights that is that of the columns of the result
	columns      int64
	weight, bias *ir.Tensor // new
}

// read reads the product of a match. Weights that something else uses, too, are left: there would be two of them.
func read(m *rewrite.Match) (*product, error) {
	w := m.Const("w")
	n := m.Root()
	if !n.Is("Gemm", "MatMul") {
		n = m.Node("y")
	}
	p := &product{gemm: n.Is("Gemm"), axis: 1}
	if p.gemm && m.Attr("tb").Int() != 0 {
		p.axis = 0
	}
	switch {
	case w.Rank() != 2:
		return nil, fmt.Errorf("the weights have shape %v", w.Shape())
	case !weights.Supported(w.DType()):
		return nil, fmt.Errorf("the weights are of type %s", w.DType())
	case m.Value("w").NumUses() != 1:
		return nil, errors.New("the weights have other uses")
	case m.Opset("") < 7:
		return nil, errors.New("before opset 7 it broadcasts by attribute")
	}
	p.columns = w.Shape()[p.axis]
	return p, nil
}

func rank(s ir.Shape) int {
	if !s.Known() {
		return -1
	}
	return len(s)
}

// arithmetic accepts what is done to each column of the product.
func arithmetic(m *rewrite.Match) error {
	p, err := read(m)
	if err != nil {
		return err
	}
	r := 2
	if !p.gemm {
		r = rank(m.Shape("y"))
	}
	scale, shift, err := affine.ReadLast(m.Root(), m.Value("y"), p.columns, r)
	if err != nil {
		return convfold.Refuse(m, err)
	}
	return p.keep(m, scale, shift)
}

// keep computes the weights and bias that scale and shift each column.
func (p *product) keep(m *rewrite.Match, scale, shift []float64) (err error) {
	w := m.Const("w")
	var old *ir.Tensor
	if p.gemm {
		old = m.Const("b")
	}
	beta := p.gemm && old != nil && m.Attr("beta").Float() != 1
	switch {
	case beta:
		return errors.New("the bias is multiplied by beta")
	case old != nil && (old.Rank() > 2 || !affine.PerPlace(old.Shape(), p.columns, 2)):
		return fmt.Errorf("the bias has shape %v for %d columns", old.Shape(), p.columns)
	}
	if old != nil {
		if old, err = row(old, p.columns); err != nil {
			return convfold.Refuse(m, err)
		}
	}
	if p.bias, err = convfold.Bias(w.DType(), old, scale, shift); err == nil {
		p.weight, err = weights.ScaleAxis(w, p.axis, scale)
	}
	m.Keep = p
	return convfold.Refuse(m, err)
}

// row is a bias with one number, or one for each column, as a vector of them.
func row(t *ir.Tensor, columns int64) (*ir.Tensor, error) {
	v, err := weights.Floats(t)
	if err != nil {
		return nil, err
	}
	if len(v) == 1 {
		v = slices.Repeat(v, int(columns))
	}
	return weights.Round(t.DType(), []int64{columns}, slices.Clone(v))
}

// unitBeta is the attribute of a Gemm that gets a bias, nil where its factor is one already.
func unitBeta(m *rewrite.Match) *ir.Attr {
	if m.Attr("beta").Float() == 1 {
		return nil
	}
	return ir.FloatAttr("beta", 1)
}

func replace(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	p, w := m.Keep.(*product), m.Value("w")
	in := []*ir.Value{m.Value("x"), w, nil}
	if p.weight != w.Const() {
		in[1] = b.Const(w.Name(), p.weight)
	}
	if p.bias != nil {
		name := w.Name() + "_bias"
		if m.Has("b") {
			name = m.Value("b").Name()
		}
		in[2] = b.Const(name, p.bias)
	}
	switch {
	case p.gemm:
		return []*ir.Value{b.Like(m.Node("y"), in, unitBeta(m))}
	case p.bias != nil:
		return []*ir.Value{b.Op("Gemm", in)}
	}
	return []*ir.Value{b.Like(m.Node("y"), in[:2])}
}
