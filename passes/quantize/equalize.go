package quantize

import (
	"math"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// The input of a depthwise convolution is quantized with one scale for all channels, whose ranges often differ by a factor of a hundred,
// and each channel's error goes to one channel of the result: what makes depthwise models lose half their accuracy (Sheng et al. 2018).
// Ranges can be evened out across layers (Nagel et al. 2019, section 4.1): whatever computes the channel is multiplied by a factor, and the
// weights of the channel are divided by it. Weights have a scale for each channel, so that neither side loses anything by it.
//
//	Conv ── (Relu, Clip) ── depthwise Conv        the factors go into the weights and bias of the first
//	Mul by a constant ── Add a constant ── ...    or into the constants

// equalizedOn is how many samples ranges of channels are taken from; largestFactor keeps biases within int32.
const (
	equalizedOn   = 64
	largestFactor = 256
)

// pair is a depthwise convolution and what its input is made of, from the last step back to the one at which the factors end.
type pair struct {
	conv  *ir.Node
	chain []*ir.Node
	// constant is the operand of a Mul or Add in the chain that is constant.
	constant map[*ir.Node]int
}

// equalize evens out the channels before depthwise convolutions.
func equalize(c *passes.Context, m *ir.Model, data *measured.Calibration, skip map[*ir.Node]string) (int, error) {
	f, err := facts.Of(c)
	if err != nil {
		return 0, err
	}
	var pairs []pair
	var taps []*ir.Value
	for n := range m.Main.Nodes() {
		if skip[n] != "" || !c.Enabled("equalize", n) {
			continue
		}
		if p, ok := pairAt(f, n); ok {
			pairs = append(pairs, p)
			taps = append(taps, n.Operand(0))
		}
	}
	done := 0
	const atOnce = 24 // tensors that are held together
	for from := 0; from < len(pairs); from += atOnce {
		part := pairs[from:min(from+atOnce, len(pairs))]
		tops, err := channelTops(c, m, data.Limit(equalizedOn), taps[from:from+len(part)])
		if err != nil {
			return done, err
		}
		for i, p := range part {
			if factors := factorsOf(tops[i]); factors != nil && p.scale(c, factors) {
				done++
			}
		}
	}
	return done, nil
}

// pairAt finds the pair of a depthwise convolution.
func pairAt(f *facts.Facts, n *ir.Node) (p pair, ok bool) {
	if !n.Is("Conv") || n.Operand(1).Const() == nil || n.Operand(1).Const().DType() != ir.Float32 {
		return p, false
	}
	w := n.Operand(1).Const().Shape()
	if len(w) < 3 || w[1] != 1 || n.Int("group", 1) < 2 || w[0] != n.Int("group", 1) {
		return p, false
	}
	p = pair{conv: n, constant: map[*ir.Node]int{}}
	for v := n.Operand(0); ; {
		at := v.Node()
		if at == nil || at.Graph() != n.Graph() {
			return p, false
		}
		if _, once := v.OnlyUse(); !once {
			return p, false
		}
		p.chain = append(p.chain, at)
		switch {
		case at.Is("Conv"):
			b := at.Operand(2)
			t := at.Operand(1).Const()
			return p, t != nil && t.DType() == ir.Float32 && t.Shape()[0] == w[0] && (b == nil || b.Const() != nil)
		case at.Is("Relu"):
			v = at.Operand(0)
		case at.Is("Clip"):
			r, known := clampOf(at)
			if !known || r[0] != 0 || r[1] > 1e30 || at != p.chain[0] || at.Operand(0).Node() == nil || !at.Operand(0).Node().Is("Conv") {
				return p, false // the bound has to be the quantizer's
			}
			v = at.Operand(0)
		case at.Is("Mul", "Add"):
			i := constantOperand(f, at, w[0])
			if i < 0 {
				return p, false
			}
			p.constant[at] = i
			if at.Is("Mul") {
				return p, true
			}
			v = at.Operand(1 - i)
		default:
			return p, false
		}
	}
}

// constantOperand is the operand of a Mul or Add that is a constant for each channel, or one for all; -1 if there is none.
func constantOperand(f *facts.Facts, n *ir.Node, channels int64) int {
	for i := range 2 {
		t := n.Operand(i).Const()
		if t == nil || t.DType() != ir.Float32 || len(f.Shape(n.Operand(1-i))) < 3 {
			continue
		}
		if t.Len() == 1 || perChannel(t.Shape(), len(f.Shape(n.Operand(1-i))), channels) {
			return i
		}
	}
	return -1
}

// perChannel reports whether a shape broadcasts along all axes but that of the channels.
func perChannel(s []int64, rank int, channels int64) bool {
	if len(s) != rank-1 && (len(s) != rank || s[0] != 1) {
		return false
	}
	s = s[len(s)-rank+1:]
	for _, d := range s[1:] {
		if d != 1 {
			return false
		}
	}
	return s[0] == channels
}

// channelTops are the largest magnitudes of each channel.
func channelTops(c *passes.Context, m *ir.Model, data *measured.Calibration, taps []*ir.Value) ([][]float64, error) {
	r := make([][]float64, len(taps))
	err := measured.TapsWith(c.Context(), data, m, taps, func(_ int, t []*ir.Tensor) ([][]float64, error) {
		tops := make([][]float64, len(taps))
		for i, x := range t {
			v, err := measured.Floats(x)
			if err != nil {
				return nil, err
			}
			if len(v) == 0 {
				continue
			}
			channels := int(x.Shape()[1])
			tops[i] = make([]float64, channels)
			plane := len(v) / int(x.Shape()[0]) / channels
			for k := range len(v) / plane {
				top := float32(0)
				for _, e := range v[k*plane : (k+1)*plane] {
					top = max(top, e, -e)
				}
				tops[i][k%channels] = math.Max(tops[i][k%channels], float64(top))
			}
		}
		return tops, nil
	}, func(_ int, tops [][]float64) error {
		for i, t := range tops {
			if r[i] == nil {
				r[i] = t
				continue
			}
			for k, x := range t {
				r[i][k] = math.Max(r[i][k], x)
			}
		}
		return nil
	})
	return r, err
}

// factorsOf bring every channel to the largest range; nil where they are alike already, or not known.
func factorsOf(tops []float64) []float64 {
	most := 0.0
	for _, t := range tops {
		most = math.Max(most, t)
	}
	if most == 0 || math.IsNaN(most) || math.IsInf(most, 0) {
		return nil
	}
	r := make([]float64, len(tops))
	differ := false
	for i, t := range tops {
		r[i] = 1
		if t > 0 {
			r[i] = math.Min(most/t, largestFactor)
		}
		differ = differ || r[i] > 1.5
	}
	if !differ {
		return nil
	}
	return r
}

// scale puts the factors in.
func (p pair) scale(c *passes.Context, factors []float64) bool {
	inverse := make([]float64, len(factors))
	for i, f := range factors {
		inverse[i] = 1 / f
	}
	g := p.conv.Graph()
	return c.Try("equalize", p.conv, nil, func() bool {
		if !scaleOperand(p.conv, 1, inverse) {
			return false
		}
		for _, n := range p.chain {
			switch {
			case n.Is("Conv"):
				scaleOperand(n, 1, factors)
				if n.Operand(2) != nil {
					scaleOperand(n, 2, factors)
				}
			case n.Is("Mul", "Add"):
				t := n.Operand(p.constant[n]).Const()
				v, err := ir.Elements[float32](t)
				if err != nil {
					return false
				}
				rank := 1 + len(p.conv.Operand(1).Const().Shape()) - 2 // without the batch
				shape := make([]int64, rank)
				for i := range shape {
					shape[i] = 1
				}
				shape[0] = int64(len(factors))
				r := make([]float32, len(factors))
				for i, f := range factors {
					r[i] = float32(float64(v[i%len(v)]) * f)
				}
				replaceConst(n, p.constant[n], g.Const(ir.TensorOf(r, shape...)))
			}
		}
		return true
	})
}

// scaleOperand multiplies a constant along its first axis.
func scaleOperand(n *ir.Node, i int, factors []float64) bool {
	t := n.Operand(i).Const()
	v, err := ir.Elements[float32](t)
	if err != nil {
		return false
	}
	r := make([]float32, len(v))
	inner := len(v) / len(factors)
	for k, x := range v {
		r[k] = float32(float64(x) * factors[k/inner])
	}
	replaceConst(n, i, n.Graph().Const(ir.TensorOf(r, t.Shape()...)))
	return true
}

func replaceConst(n *ir.Node, i int, v *ir.Value) {
	old := n.Operand(i)
	v.SetName(old.Name())
	n.SetOperand(i, v)
	dropConst(old)
}
