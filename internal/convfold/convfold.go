// Package convfold folds what happens to each channel behind a convolution into its weights and bias.
package convfold

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Folded is what a convolution gets. Bias is nil if it has none and needs none.
type Folded struct{ Weight, Bias *ir.Tensor }

// Channels is the number of channels that the Conv or ConvTranspose n gives with weights w, and how the scale of a channel is
// spread over w: as one factor for each block of consecutive elements. Conv has w [M, C/group, ...] and M channels;
// ConvTranspose has w [C, M/group, ...], where the input channels of a group lead to the output channels of that group.
func Channels(n *ir.Node, w *ir.Tensor) (channels int, spread func(s []float64) []float64, err error) {
	if w.Rank() < 3 {
		return 0, nil, fmt.Errorf("the weights have shape %v", w.Shape())
	}
	if n.Op().Type == "Conv" {
		return int(w.Shape()[0]), func(s []float64) []float64 { return s }, nil
	}
	groups := n.Int("group", 1)
	in, out := w.Shape()[0], w.Shape()[1]
	if groups < 1 || in%groups != 0 || in == 0 {
		return 0, nil, fmt.Errorf("weights of shape %v do not fit %d groups", w.Shape(), groups)
	}
	return int(out * groups), func(s []float64) []float64 {
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
	channels, spread, err := Channels(n, w)
	switch {
	case err != nil:
		return nil, err
	case len(scale) != channels || len(shift) != channels:
		return nil, fmt.Errorf("%d channels are scaled and shifted where there are %d", len(scale), channels)
	case b != nil && !slices.Equal(b.Shape(), []int64{int64(channels)}):
		return nil, fmt.Errorf("the bias has shape %v for %d channels", b.Shape(), channels)
	}
	f := &Folded{}
	if f.Weight, err = weights.Scale(w, spread(scale)); err != nil {
		return nil, err
	}
	bias := slices.Clone(shift)
	if b != nil {
		old, err := weights.Floats(b)
		if err != nil {
			return nil, err
		}
		for i, x := range old {
			bias[i] = float64(x*scale[i]) + shift[i]
		}
	}
	if b != nil || slices.ContainsFunc(bias, func(x float64) bool { return x != 0 }) {
		f.Bias, err = weights.Round(w.DType(), []int64{int64(channels)}, bias)
	}
	return f, err
}

// Refuse makes the error of a fold the answer of a rule's Where. What is wrong with the data itself ends the pass.
func Refuse(m *rewrite.Match, err error) error {
	var unfit *weights.Unfit
	if err != nil && !errors.As(err, &unfit) {
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
