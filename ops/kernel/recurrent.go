package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// recurrent is what RNN, GRU and LSTM share. Sizes: seq steps, batch, inputs I, hidden H; gates rows of H in W and R.
type recurrent struct {
	dtype                      ir.DType
	seq, batch, inputs, hidden int
	gates, dirs                int
	batchFirst                 bool // layout=1
	lens                       []int64
	clip                       float64 // infinite if not given
	x, w, r, b                 []float64
	acts                       []func(float64) float64 // per direction
	reverse                    []bool
}

// newRecurrent reads the operands X, W, R, B, sequence_lens and the attributes. acts is the number of activations a direction.
func newRecurrent(c *Call, gates int, defaults ...string) (*recurrent, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	w, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	r, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	n := &recurrent{dtype: x.DType(), gates: gates, batchFirst: c.int("layout", 0) != 0}
	if !x.DType().IsFloat() || x.Rank() != 3 || w.Rank() != 3 || r.Rank() != 3 {
		return nil, fmt.Errorf("operands %s, %s and %s", x.Type(), w.Type(), r.Type())
	}
	if err := n.readDirections(c); err != nil {
		return nil, err
	}
	n.hidden = int(c.int("hidden_size", r.Shape()[2]))
	n.seq, n.batch, n.inputs = int(x.Shape()[0]), int(x.Shape()[1]), int(x.Shape()[2])
	if n.batchFirst {
		n.seq, n.batch = n.batch, n.seq
	}
	rows := int64(gates * n.hidden)
	if n.hidden < 0 || !slices.Equal(w.Shape(), []int64{int64(n.dirs), rows, int64(n.inputs)}) || !slices.Equal(r.Shape(), []int64{int64(n.dirs), rows, int64(n.hidden)}) {
		return nil, fmt.Errorf("weights %v and %v for hidden size %d, %d inputs, %d directions", w.Shape(), r.Shape(), n.hidden, n.inputs, n.dirs)
	}
	for i, dst := range []*[]float64{&n.x, &n.w, &n.r} {
		t, _ := c.Need(i)
		if *dst, err = floats(t); err != nil {
			return nil, err
		}
	}
	if n.b, err = n.optional(c, 3, 2*gates*n.hidden*n.dirs); err != nil {
		return nil, err
	}
	if err := n.readLens(c); err != nil {
		return nil, err
	}
	return n, n.readActivations(c, defaults)
}

// readDirections reads the attributes direction and clip.
func (n *recurrent) readDirections(c *Call) error {
	n.clip = math.Inf(1)
	if a := c.Attr("clip"); a != nil {
		n.clip = float64(a.Float())
	}
	switch d := c.str("direction", "forward"); d {
	case "forward":
		n.reverse = []bool{false}
	case "reverse":
		n.reverse = []bool{true}
	case "bidirectional":
		n.reverse = []bool{false, true}
	default:
		return fmt.Errorf("unknown direction %q", d)
	}
	n.dirs = len(n.reverse)
	return nil
}

func (n *recurrent) readLens(c *Call) error {
	lens, given, err := c.intsOperand(4)
	if err != nil {
		return err
	}
	if given {
		n.lens = lens
		if len(lens) != n.batch {
			return fmt.Errorf("%d sequence lengths for a batch of %d", len(lens), n.batch)
		}
		for _, l := range lens {
			if l < 0 || l > int64(n.seq) {
				return fmt.Errorf("sequence length %d of %d", l, n.seq)
			}
		}
		return nil
	}
	n.lens = make([]int64, n.batch)
	for i := range n.lens {
		n.lens[i] = int64(n.seq)
	}
	return nil
}

// optional reads operand i of the given number of elements, zeros if it is omitted.
func (n *recurrent) optional(c *Call, i, size int) ([]float64, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return alloc[float64](c, []int64{int64(size)})
	}
	if t.Len() != int64(size) {
		return nil, c.badOperand(i, t)
	}
	return floats(t)
}

// readActivations resolves the activations; parameters are consumed by those that take some, in order.
func (n *recurrent) readActivations(c *Call, defaults []string) error {
	names := c.Attr("activations").Strs()
	if len(names) == 0 {
		for range n.dirs {
			names = append(names, defaults...)
		}
	}
	if len(names) < n.dirs*len(defaults) {
		return fmt.Errorf("%d activations where %d are needed", len(names), n.dirs*len(defaults))
	}
	alphas, betas := c.Attr("activation_alpha").Floats(), c.Attr("activation_beta").Floats()
	for _, name := range names {
		f, err := activation(strings.ToLower(name), func(def float64) float64 { return take(&alphas, def) }, func(def float64) float64 { return take(&betas, def) })
		if err != nil {
			return err
		}
		n.acts = append(n.acts, f)
	}
	return nil
}

// take removes the first element of a list; def if it is empty.
func take(l *[]float32, def float64) float64 {
	if len(*l) == 0 {
		return def
	}
	v := (*l)[0]
	*l = (*l)[1:]
	return float64(v)
}

// activation is the function of a lower-case name; alpha and beta give its parameters, of which it takes what it needs.
func activation(name string, alpha, beta func(def float64) float64) (func(float64) float64, error) {
	switch name {
	case "relu":
		return func(x float64) float64 { return max(0, x) }, nil
	case "tanh":
		return fmath.Tanh, nil
	case "sigmoid":
		return fmath.Sigmoid, nil
	case "softsign":
		return func(x float64) float64 { return x / (1 + math.Abs(x)) }, nil
	case "softplus":
		return fmath.Softplus, nil
	case "affine":
		a, b := alpha(1), beta(0)
		return func(x float64) float64 { return float64(a*x) + b }, nil
	case "leakyrelu":
		a := alpha(0.01)
		return func(x float64) float64 { return max(x, 0) + float64(a*min(x, 0)) }, nil
	case "thresholdedrelu":
		a := alpha(1)
		return func(x float64) float64 {
			if x >= a {
				return x
			}
			return 0
		}, nil
	case "scaledtanh":
		return scaledTanh(alpha(1), beta(1)), nil
	case "hardsigmoid":
		a, b := alpha(0.2), beta(0.5)
		return func(x float64) float64 { return max(0, min(1, float64(a*x)+b)) }, nil
	case "elu":
		a := alpha(1)
		return func(x float64) float64 {
			if x >= 0 {
				return x
			}
			return a * fmath.Expm1(x)
		}, nil
	}
	return nil, fmt.Errorf("unknown activation %q", name)
}

// scaledTanh is alpha * tanh(beta*x), an activation of recurrent layers.
func scaledTanh(alpha, beta float64) func(float64) float64 {
	return func(x float64) float64 { return alpha * fmath.Tanh(float64(beta*x)) }
}

// squash limits a pre-activation to the clip range and applies activation k of a direction that has per of them.
func (n *recurrent) squash(dir, per, k int, x float64) float64 {
	return n.acts[dir*per+k](max(-n.clip, min(n.clip, x)))
}

// affine writes x*W' + bias for the rows given (gate by gate) into dst.
func affine(dst, w, x, bias []float64) {
	for i := range dst {
		s := 0.0
		row := w[i*len(x) : (i+1)*len(x)]
		for k, v := range x {
			s += float64(row[k] * v)
		}
		if bias != nil {
			s += bias[i]
		}
		dst[i] = s
	}
}

// step is one step of a cell: given the input's part of the gates xw [gates*H] and the states h, it updates the states in place.
type step func(dir int, xw []float64, r, rb []float64, states [][]float64)

// run drives the cell over all directions, batch entries and steps. states holds the initial states, each [dirs, batch, H] (or
// batch first), and is left with the final ones. It returns Y [seq, dirs, batch, H] or [batch, seq, dirs, H].
func (n *recurrent) run(c *Call, states [][]float64, cell step) ([]float64, error) {
	y, err := alloc[float64](c, []int64{int64(n.seq), int64(n.dirs), int64(n.batch), int64(n.hidden)})
	if err != nil {
		return nil, err
	}
	g, h := n.gates*n.hidden, n.hidden
	xw, cur := make([]float64, g), make([][]float64, len(states))
	for dir := range n.dirs {
		w, r := n.w[dir*g*n.inputs:(dir+1)*g*n.inputs], n.r[dir*g*h:(dir+1)*g*h]
		wb, rb := n.b[dir*2*g:][:g], n.b[dir*2*g+g:][:g]
		for b := range n.batch {
			at := (dir*n.batch + b) * h
			if n.batchFirst {
				at = (b*n.dirs + dir) * h
			}
			for i, s := range states {
				cur[i] = s[at : at+h]
			}
			for k := range int(n.lens[b]) {
				t := k
				if n.reverse[dir] {
					t = int(n.lens[b]) - 1 - k
				}
				from, to := t*n.batch+b, ((t*n.dirs+dir)*n.batch+b)*h
				if n.batchFirst {
					from, to = b*n.seq+t, ((b*n.seq+t)*n.dirs+dir)*h
				}
				affine(xw, w, n.x[from*n.inputs:(from+1)*n.inputs], wb)
				cell(dir, xw, r, rb, cur)
				copy(y[to:to+h], cur[0])
				if err := c.tick(g * (n.inputs + h + 16)); err != nil {
					return nil, err
				}
			}
		}
	}
	return y, nil
}

// results wraps Y and the final states.
func (n *recurrent) results(c *Call, y []float64, states ...[]float64) ([]ir.Datum, error) {
	s, d, b, h := int64(n.seq), int64(n.dirs), int64(n.batch), int64(n.hidden)
	ys, ss := []int64{s, d, b, h}, []int64{d, b, h}
	if n.batchFirst {
		ys, ss = []int64{b, s, d, h}, []int64{b, d, h}
	}
	t, err := convertFloats(c, n.dtype, ys, y)
	if err != nil {
		return nil, err
	}
	r := []ir.Datum{t}
	for _, v := range states {
		if t, err = convertFloats(c, n.dtype, ss, v); err != nil {
			return nil, err
		}
		r = append(r, t)
	}
	return r[:max(1, min(len(r), len(c.Out)))], nil
}

// initial reads an initial state, a copy that the run may change.
func (n *recurrent) initial(c *Call, i int) ([]float64, error) {
	v, err := n.optional(c, i, n.dirs*n.batch*n.hidden)
	return slices.Clone(v), err
}

// rnnOp: H = f(X*W' + H*R' + Wb + Rb).
func rnnOp(c *Call) ([]ir.Datum, error) {
	n, err := newRecurrent(c, 1, "Tanh")
	if err != nil {
		return nil, err
	}
	h, err := n.initial(c, 5)
	if err != nil {
		return nil, err
	}
	hr := make([]float64, n.hidden)
	y, err := n.run(c, [][]float64{h}, func(dir int, xw, r, rb []float64, s [][]float64) {
		affine(hr, r, s[0], rb)
		for i := range hr {
			s[0][i] = n.squash(dir, 1, 0, xw[i]+hr[i])
		}
	})
	if err != nil {
		return nil, err
	}
	return n.results(c, y, h)
}

// gruOp: gates z, r, h; linear_before_reset says whether the reset gate is applied to H*R' or to H.
func gruOp(c *Call) ([]ir.Datum, error) {
	n, err := newRecurrent(c, 3, "Sigmoid", "Tanh")
	if err != nil {
		return nil, err
	}
	h, err := n.initial(c, 5)
	if err != nil {
		return nil, err
	}
	after := c.int("linear_before_reset", 0) != 0
	size := n.hidden
	hr, z, reset := make([]float64, 3*size), make([]float64, size), make([]float64, size)
	y, err := n.run(c, [][]float64{h}, func(dir int, xw, r, rb []float64, s [][]float64) {
		affine(hr[:2*size], r[:2*size*size], s[0], rb)
		for i := range size {
			z[i] = n.squash(dir, 2, 0, xw[i]+hr[i])
			reset[i] = n.squash(dir, 2, 0, xw[size+i]+hr[size+i])
		}
		in := s[0]
		if !after {
			in = make([]float64, size)
			for i := range in {
				in[i] = reset[i] * s[0][i]
			}
		}
		affine(hr[2*size:], r[2*size*size:], in, rb[2*size:])
		for i := range size {
			u := hr[2*size+i]
			if after {
				u = float64(u * reset[i])
			}
			u = n.squash(dir, 2, 1, xw[2*size+i]+u)
			s[0][i] = float64((1-z[i])*u) + float64(z[i]*s[0][i])
		}
	})
	if err != nil {
		return nil, err
	}
	return n.results(c, y, h)
}

// lstmOp: gates i, o, f, c with optional peepholes P [dirs, 3*H] in order i, o, f; input_forget couples f = 1 - i.
func lstmOp(c *Call) ([]ir.Datum, error) {
	n, err := newRecurrent(c, 4, "Sigmoid", "Tanh", "Tanh")
	if err != nil {
		return nil, err
	}
	h, err := n.initial(c, 5)
	if err != nil {
		return nil, err
	}
	cell, err := n.initial(c, 6)
	if err != nil {
		return nil, err
	}
	p, err := n.optional(c, 7, 3*n.dirs*n.hidden)
	if err != nil {
		return nil, err
	}
	if c.int("hidden_size", 1) == 0 {
		return nil, errors.New("hidden_size is 0")
	}
	coupled, size := c.int("input_forget", 0) != 0, n.hidden
	hr := make([]float64, 4*size)
	y, err := n.run(c, [][]float64{h, cell}, func(dir int, xw, r, rb []float64, s [][]float64) {
		affine(hr, r, s[0], rb)
		peep := p[dir*3*size:]
		for i := range size {
			cc := s[1][i]
			gate := func(k, peephole int, cc float64) float64 {
				x := xw[k*size+i] + hr[k*size+i]
				if w := peep[peephole*size+i]; w != 0 { // 0 may mean that there are none, whatever the cell holds
					x += float64(w * cc)
				}
				return n.squash(dir, 3, 0, x)
			}
			in := gate(0, 0, cc)
			forget := 1 - in
			if !coupled {
				forget = gate(2, 2, cc)
			}
			cc = float64(forget*cc) + float64(in*n.squash(dir, 3, 1, xw[3*size+i]+hr[3*size+i]))
			s[1][i] = cc
			s[0][i] = float64(gate(1, 1, cc) * n.acts[dir*3+2](cc))
		}
	})
	if err != nil {
		return nil, err
	}
	return n.results(c, y, h, cell)
}
