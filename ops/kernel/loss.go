package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// softmaxCrossEntropyLossOp is NegativeLogLikelihoodLoss of LogSoftmax along axis 1; the second result is the logarithm of the
// probabilities.
func softmaxCrossEntropyLossOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() < 2 || !x.DType().IsFloat() {
		return nil, c.badOperand(0, x)
	}
	s := x.Shape()
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	logs, err := alloc[float64](c, s)
	if err != nil {
		return nil, err
	}
	n, inner := int(s[1]), product(s[2:])
	buf := make([]float64, n)
	for o := range int(s[0]) {
		for i := range inner {
			for k := range buf {
				buf[k] = v[(o*n+k)*inner+i]
			}
			logSoftmax(buf)
			for k, y := range buf {
				logs[(o*n+k)*inner+i] = y
			}
		}
		if err := c.tick(64 * n * inner); err != nil {
			return nil, err
		}
	}
	loss, err := likelihoodLoss(c, x, logs)
	if err != nil {
		return nil, err
	}
	t, err := convertFloats(c, x.DType(), s, logs)
	return []ir.Datum{loss, t}, err
}

func negativeLogLikelihoodLossOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() < 2 || !x.DType().IsFloat() {
		return nil, c.badOperand(0, x)
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	return one(likelihoodLoss(c, x, v))
}

// likelihoodLoss is minus the weighted logarithm of the target class's probability for each place of logs [N, C, ...]; mean divides
// by the sum of the weights. Places whose target is ignore_index do not count.
func likelihoodLoss(c *Call, x *ir.Tensor, logs []float64) (*ir.Tensor, error) {
	s := x.Shape()
	target, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	shape := slices.Concat(s[:1], s[2:])
	if !slices.Equal(target.Shape(), shape) {
		return nil, c.badOperand(1, target)
	}
	var weights []float64
	if t, err := c.Tensor(2); err != nil {
		return nil, err
	} else if t != nil {
		if !slices.Equal(t.Shape(), s[1:2]) {
			return nil, c.badOperand(2, t)
		}
		if weights, err = floats(t); err != nil {
			return nil, err
		}
	}
	ignore := c.Attr("ignore_index")
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	n, inner, sum, total := int(s[1]), max(1, product(s[2:])), 0.0, 0.0
	for i, k := range idx {
		if ignore != nil && k == ignore.Int() {
			continue
		}
		if k < 0 || k >= s[1] {
			return nil, fmt.Errorf("target %d of %d classes", k, n)
		}
		w := 1.0
		if weights != nil {
			w = weights[k]
		}
		r[i] = float64(-logs[(i/inner*n+int(k))*inner+i%inner] * w)
		sum += r[i]
		total += w
	}
	switch mode := c.str("reduction", "mean"); mode {
	case "none":
		return convertFloats(c, x.DType(), shape, r)
	case "sum":
	case "mean":
		sum /= total
	default:
		return nil, fmt.Errorf("unknown reduction %q", mode)
	}
	return convertFloats(c, x.DType(), []int64{}, []float64{sum})
}
