package separate

import (
	"math"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// layer is a convolution that becomes two.
type layer struct {
	node       *ir.Node
	linear     *measured.Linear
	form       *measured.Linear // the same in the original
	multiplier int
	depthwise  *ir.Tensor // [inputs*multiplier, 1, window...]
	pointwise  *ir.Tensor // [outputs, inputs*multiplier, 1...]
	made       *ir.Node   // the 1x1 convolution
}

// ridge keeps directions that the data hardly have from counting as nothing, in units of the mean variance.
const ridge = 1e-3

// factor finds the filters: for each input channel with weights A, outputs by taps, and C the second moments of what the taps read, those D
// that minimise ‖(A − PD) C^½‖ for the best P. They span the leading eigenvectors of C^½ AᵀA C^½, taken back by C^−½.
func (l *layer) factor(k *measured.Moments) error {
	w, err := l.linear.Weights()
	if err != nil {
		return err
	}
	taps, in, out, m := l.linear.Taps(), l.linear.Inputs(), l.linear.Channels(), l.multiplier
	filters, mix := make([]float64, in*m*taps), make([]float64, out*in*m)
	for i := range in {
		a := linalg.New[float64](out, taps)
		for o := range out {
			for t := range taps {
				a.Data[o*taps+t] = w[0].Data[(i*taps+t)*w[0].Cols+o]
			}
		}
		root, inverse, err := roots(k, i, taps)
		if err != nil {
			return err
		}
		b := product(a, root)
		_, vectors, err := linalg.SymEigen(product(transposed(b), b))
		if err != nil {
			return err
		}
		for at := range m {
			f := i*m + at
			for t := range taps {
				for s := range taps {
					filters[f*taps+t] += inverse.Data[t*taps+s] * vectors.Data[s*taps+at]
				}
			}
			for o := range out {
				for t := range taps {
					mix[o*in*m+f] += b.Data[o*taps+t] * vectors.Data[t*taps+at]
				}
			}
			balance(filters[f*taps:(f+1)*taps], mix, f, out, in*m)
		}
	}
	shape := l.node.Operand(1).Const().Shape()
	ones := make([]int64, len(shape)-2)
	for i := range ones {
		ones[i] = 1
	}
	d := l.node.Operand(1).Const().DType()
	if l.depthwise, err = weights.Round(d, append([]int64{int64(in * m), 1}, shape[2:]...), filters); err != nil {
		return err
	}
	l.pointwise, err = weights.Round(d, append([]int64{int64(out), int64(in * m)}, ones...), mix)
	return err
}

// balance gives a filter the norm one and what it is weighed with the rest, so that neither is tiny.
func balance(filter, mix []float64, f, out, cols int) {
	norm := linalg.Norm(filter)
	if norm == 0 {
		return
	}
	for t := range filter {
		filter[t] /= norm
	}
	for o := range out {
		mix[o*cols+f] *= norm
	}
}

// roots are the symmetric square root of the second moments of the taps of channel i, and its inverse; without data the identity.
func roots(k *measured.Moments, i, taps int) (root, inverse linalg.Matrix[float64], err error) {
	root, inverse = linalg.New[float64](taps, taps), linalg.New[float64](taps, taps)
	if k == nil {
		for t := range taps {
			root.Data[t*taps+t], inverse.Data[t*taps+t] = 1, 1
		}
		return root, inverse, nil
	}
	c, mean := linalg.New[float64](taps, taps), 0.0
	for s := range taps {
		for t := range taps {
			c.Data[s*taps+t] = k.H[0].Data[(i*taps+s)*k.H[0].Cols+i*taps+t] / float64(k.Rows)
		}
		mean += c.Data[s*taps+s] / float64(taps)
	}
	for t := range taps {
		c.Data[t*taps+t] += ridge*mean + 1e-12
	}
	values, q, err := linalg.SymEigen(c)
	if err != nil {
		return root, inverse, err
	}
	for s := range taps {
		for t := range taps {
			for j, v := range values {
				r := math.Sqrt(math.Max(v, 1e-15))
				root.Data[s*taps+t] += q.Data[s*taps+j] * r * q.Data[t*taps+j]
				inverse.Data[s*taps+t] += q.Data[s*taps+j] / r * q.Data[t*taps+j]
			}
		}
	}
	return root, inverse, nil
}

func product(a, b linalg.Matrix[float64]) linalg.Matrix[float64] {
	r := linalg.New[float64](a.Rows, b.Cols)
	for i := range a.Rows {
		for k := range a.Cols {
			for j := range b.Cols {
				r.Data[i*b.Cols+j] += a.Data[i*a.Cols+k] * b.Data[k*b.Cols+j]
			}
		}
	}
	return r
}

func transposed(a linalg.Matrix[float64]) linalg.Matrix[float64] {
	r := linalg.New[float64](a.Cols, a.Rows)
	for i := range a.Rows {
		for j := range a.Cols {
			r.Data[j*a.Rows+i] = a.Data[i*a.Cols+j]
		}
	}
	return r
}

// place makes both convolutions in the place of the one.
func (l *layer) place() {
	n := l.node
	g := n.Graph()
	var attrs []*ir.Attr
	for _, a := range n.Attrs() {
		if a.Name != "group" {
			attrs = append(attrs, a)
		}
	}
	attrs = append(attrs, ir.IntAttr("group", int64(l.linear.Inputs())))
	name := n.Operand(1).Name()
	d := g.New(n, ir.Op("Conv"), []*ir.Value{n.Operand(0), g.NamedConst(named(name, "depthwise"), l.depthwise)}, attrs...)
	d.SetName(named(n.Name(), "depthwise"))
	in := []*ir.Value{d.Result(0), g.NamedConst(named(name, "pointwise"), l.pointwise)}
	if n.NumOperands() > 2 && n.Operand(2) != nil {
		in = append(in, n.Operand(2))
	}
	l.made = g.New(n, ir.Op("Conv"), in, ir.IntsAttr("kernel_shape", l.pointwise.Shape()[2:]))
	l.made.SetName(named(n.Name(), "pointwise"))
	old, now := n.Result(0), l.made.Result(0)
	result, t := old.Name(), old.Type()
	old.ReplaceUses(now)
	g.Erase(n)
	now.SetName(result)
	if t != nil {
		now.SetType(t)
	}
}

func named(name, suffix string) string {
	if name == "" {
		return ""
	}
	return name + "_" + suffix
}
