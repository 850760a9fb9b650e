// Package affine reads what a node does to each channel: a channel x becomes x*scale + shift.
package affine

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// Attributes is what a pattern says of the attributes of a BatchNormalization that Norm reads: those of older versions may
// have any value, spatial and training_mode have their defaults.
const Attributes = "<epsilon = @epsilon, momentum = @momentum, is_test = @test, consumed_inputs = @consumed>"

// Norm is what an inference BatchNormalization does: (x - mean) * scale / sqrt(var) + bias for each channel (Ioffe and Szegedy
// 2015). Var has epsilon added.
type Norm struct{ Scale, Bias, Mean, Var []float64 }

// Refusal is a reason for which a node is not read; it completes "not applied, because".
type Refusal struct{ Why string }

func (e *Refusal) Error() string { return e.Why }

// Refuse makes a Refusal.
func Refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// ReadNorm reads the BatchNormalization n of that many channels, whose attributes are as Attributes says. A *Refusal says that it
// trains or that an operand is not what it should be; other errors are about reading the constants.
func ReadNorm(n *ir.Node, channels int64) (*Norm, error) {
	opset := n.Graph().Opset("")
	given := 0
	for _, v := range n.Results() {
		if v != nil {
			given++
		}
	}
	// Versions before 7 say by an attribute that the given statistics are used, versions 7 to 13 by having no result but the
	// first, later ones by training_mode, which is at its default 0.
	if opset < 7 && n.Int("is_test", 0) == 0 || opset < 14 && given > 1 {
		return nil, Refuse("it normalizes in training mode")
	}
	var p [4][]float64
	for i, name := range []string{"scale", "bias", "mean", "var"} {
		t := n.Operand(i + 1).Const()
		switch {
		case t == nil:
			return nil, Refuse("%s is no constant", name)
		case !slices.Equal(t.Shape(), []int64{channels}) || !weights.Supported(t.DType()):
			return nil, Refuse("%s is a %s for %d channels", name, t.Type(), channels)
		}
		v, err := weights.Floats(t)
		if err != nil {
			return nil, err
		}
		p[i] = slices.Clone(v)
	}
	epsilon := float64(n.Float("epsilon", 1e-5))
	for i := range p[3] {
		p[3][i] += epsilon
	}
	return &Norm{p[0], p[1], p[2], p[3]}, nil
}

// Affine is the normalization as x*scale + shift. A variance that is negative, or zero without epsilon, gives what is not finite and
// is refused when it is rounded.
func (p *Norm) Affine() (scale, shift []float64) {
	scale, shift = make([]float64, len(p.Scale)), make([]float64, len(p.Scale))
	for i := range scale {
		scale[i] = p.Scale[i] / math.Sqrt(p.Var[i])
		shift[i] = p.Bias[i] - float64(p.Mean[i]*scale[i])
	}
	return scale, shift
}

// ReadArithmetic is what n, a Mul, Div, Add or Sub, does to the channels of its operand y, which has that many of them, with its
// constant other operand. rank is that of y, -1 if it is not known. Errors are as those of ReadNorm.
func ReadArithmetic(n *ir.Node, y *ir.Value, channels int64, rank int) (scale, shift []float64, err error) {
	return read(n, y, channels, PerChannel, rank)
}

// ReadLast is ReadArithmetic for what n does to each place of the last axis of y, of which there are that many.
func ReadLast(n *ir.Node, y *ir.Value, places int64, rank int) (scale, shift []float64, err error) {
	return read(n, y, places, PerPlace, rank)
}

func read(n *ir.Node, y *ir.Value, channels int64, fits func([]int64, int64, int) bool, rank int) (scale, shift []float64, err error) {
	k := 1
	if n.Operand(1) == y {
		k = 0
	}
	c := n.Operand(k).Const()
	switch {
	case c == nil || n.Operand(1-k) != y:
		return nil, nil, Refuse("the other operand is no constant")
	case k == 0 && n.Is("Div"):
		return nil, nil, Refuse("it divides by the channels")
	case !weights.Supported(c.DType()):
		return nil, nil, Refuse("c is of type %s", c.DType())
	case !fits(c.Shape(), channels, rank):
		return nil, nil, Refuse("c has shape %v, which is not one number for each of %d channels", c.Shape(), channels)
	}
	v, err := weights.Floats(c)
	if err != nil {
		return nil, nil, err
	}
	scale, shift = make([]float64, channels), make([]float64, channels)
	for i := range scale {
		scale[i], shift[i] = arithmetic(n.Op().Type, k == 0, v[i%len(v)])
	}
	return scale, shift, nil
}

// arithmetic is an operation with the constant c, which is the first operand if first is set, as a scale and a shift.
func arithmetic(op string, first bool, c float64) (scale, shift float64) {
	switch {
	case op == "Mul":
		return c, 0
	case op == "Div":
		return 1 / c, 0
	case op == "Add":
		return 1, c
	case first:
		return -1, c
	}
	return 1, -c
}

// PerChannel reports whether a constant of that shape, broadcast to a value [N, channels, ...] of the given rank, holds one
// number for each channel, or one for all, and does not make the value larger. A rank of -1 is one that is not known.
func PerChannel(shape []int64, channels int64, rank int) bool {
	if rank < 0 && len(shape) == 0 {
		return channels > 0
	}
	if len(shape) > rank || channels <= 0 {
		return false
	}
	for i, d := range shape {
		axis := i + rank - len(shape)
		if d != 1 && (axis != 1 || d != channels) {
			return false
		}
	}
	return true
}

// PerPlace is PerChannel for the last axis instead of the second.
func PerPlace(shape []int64, places int64, rank int) bool {
	if rank < 0 && len(shape) == 0 {
		return places > 0
	}
	if len(shape) > rank || places <= 0 {
		return false
	}
	for i, d := range shape {
		if d != 1 && (i != len(shape)-1 || d != places) {
			return false
		}
	}
	return true
}

// IsRefusal reports whether err is a reason for not applying a rule rather than a failure to read the data.
func IsRefusal(err error) bool {
	var r *Refusal
	var u *weights.Unfit
	return errors.As(err, &r) || errors.As(err, &u)
}
