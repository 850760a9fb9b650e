// Package convfold folds what happens to each channel behind a convolution into its weights and bias.
package convfold

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Folded is what a convolution gets. Bias is nil if it has none and needs none.
type Folded struct{ Weight, Bias *ir.Tensor }

// Channels is the number of channels that the Conv or ConvTranspose n gives with weights of shape w, and how the scale of a channel is
// spread over them: as one factor for each block of consecutive elements. Conv has w [M, C/group, ...] and M channels;
// ConvTranspose has w [C, M/group, ...], where the input channels of a group lead to the output channels of that group.
func Channels(n *ir.Node, w []int64) (channels int64, spread func(s []float64) []float64, err error) {
	if len(w) < 3 {
		return 0, nil, fmt.Errorf("the weights have shape %v", w)
	}
	if n.Op().Type == "Conv" {
		return w[0], func(s []float64) []float64 { return s }, nil
	}
	groups := n.Int("group", 1)
	in, out := w[0], w[1]
	if groups < 1 || in%groups != 0 || in == 0 {
		return 0, nil, fmt.Errorf("weights of shape %v do not fit %d groups", w, groups)
	}
	return out * groups, func(s []float64) []float64 {
		r := make([]float64, 0, in*out)
		for c := range in {
			g := c / (in / groups)
			r = append(r, s[g*out:(g+1)*out]...)
		}
		return r
	}, nil
}

// Fold is conv(x)*scale + shift, channel by channel, as one convolution: n with weights w and bias b (nil: none). A *weights.Unfit
// error says that the new weights cannot be had in the type of w.
func Fold(n *ir.Node, w, b *ir.Tensor, scale, shift []float64) (*Folded, error) {
	channels, spread, err := Channels(n, w.Shape())
	switch {
	case err != nil:
		return nil, err
	case int64(len(scale)) != channels || int64(len(shift)) != channels:
		return nil, fmt.Errorf("%d channels are scaled and shifted where there are %d", len(scale), channels)
	}
	f := &Folded{}
	if f.Weight, err = weights.Scale(w, spread(scale)); err != nil {
		return nil, err
	}
	f.Bias, err = Bias(w.DType(), b, scale, shift)
	return f, err
}

// Bias is b*scale + shift as a tensor of type d, nil where there is no b and nothing is shifted.
func Bias(d ir.DType, b *ir.Tensor, scale, shift []float64) (*ir.Tensor, error) {
	channels := int64(len(shift))
	bias := slices.Clone(shift)
	if b != nil {
		if !slices.Equal(b.Shape(), []int64{channels}) {
			return nil, affine.Refuse("the bias has shape %v for %d channels", b.Shape(), channels)
		}
		old, err := weights.Floats(b)
		if err != nil {
			return nil, err
		}
		for i, x := range old {
			bias[i] = float64(x*scale[i]) + shift[i]
		}
	}
	if b == nil && !slices.ContainsFunc(bias, func(x float64) bool { return x != 0 }) {
		return nil, nil
	}
	return weights.Round(d, []int64{channels}, bias)
}

// Refuse makes the error of a fold the answer of a rule's Where. What is wrong with the data itself ends the pass.
func Refuse(m *rewrite.Match, err error) error {
	if err != nil && !affine.IsRefusal(err) {
		m.Fail(err)
	}
	return err
}

// Replace builds the convolution that n becomes: with operand x, f, and n's attributes. w and b are n's old weights and bias,
// whose names the new ones take.
func Replace(b *rewrite.Builder, n *ir.Node, f *Folded) *ir.Value {
	in := []*ir.Value{n.Operand(0), n.Operand(1), n.Operand(2)}
	if in[1].Const() != f.Weight {
		in[1] = b.Const(in[1].Name(), f.Weight)
	}
	if f.Bias != nil {
		name := in[1].Name() + "_bias"
		if in[2] != nil {
			name = in[2].Name()
		}
		in[2] = b.Const(name, f.Bias)
	}
	return b.Like(n, in)
}
