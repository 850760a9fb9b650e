package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// detOp is the determinant of each matrix of a stack, by elimination with partial pivoting.
func detOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	rank := x.Rank()
	if rank < 2 || x.Shape()[rank-1] != x.Shape()[rank-2] || !x.DType().IsFloat() {
		return nil, c.badOperand(0, x)
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	n, shape := int(x.Shape()[rank-1]), x.Shape()[:rank-2]
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	for i := range r {
		if r[i], err = determinant(c, slices.Clone(v[i*n*n:(i+1)*n*n]), n); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, x.DType(), shape, r))
}

// determinant of a row-major matrix, which it destroys.
func determinant(c *Call, a []float64, n int) (float64, error) {
	det := 1.0
	for k := range n {
		pivot := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i*n+k]) > math.Abs(a[pivot*n+k]) {
				pivot = i
			}
		}
		p := a[pivot*n+k]
		if p == 0 {
			return 0, nil
		}
		if pivot != k {
			det = -det
			for j := range n {
				a[k*n+j], a[pivot*n+j] = a[pivot*n+j], a[k*n+j]
			}
		}
		det *= p
		for i := k + 1; i < n; i++ {
			f := a[i*n+k] / p
			for j := k; j < n; j++ {
				a[i*n+j] -= float64(f * a[k*n+j])
			}
		}
		if err := c.tick(n * n); err != nil {
			return 0, err
		}
	}
	return det, nil
}

// swiGLUOp is swish(A) * B with swish(x) = x * sigmoid(alpha*x).
func swiGLUOp(c *Call) ([]ir.Datum, error) {
	a, b, shape, err := operands2(c)
	if err != nil {
		return nil, err
	}
	if a.DType() != b.DType() || !a.DType().IsFloat() {
		return nil, c.badOperand(1, b)
	}
	x, err := floats(a)
	if err != nil {
		return nil, err
	}
	y, err := floats(b)
	if err != nil {
		return nil, err
	}
	alpha := float64(c.float("alpha", 1))
	r, err := zip(c, x, y, a.Shape(), b.Shape(), shape, func(x, y float64) float64 {
		return float64(x*fmath.Sigmoid(float64(alpha*x))) * y
	})
	if err != nil {
		return nil, err
	}
	return one(convertFloats(c, a.DType(), shape, r))
}

// col2ImOp adds the columns of X [N, C*block, positions] to where a sliding block would have read them in an image of the
// given shape.
func col2ImOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	image, _, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	block, _, err := c.intsOperand(2)
	if err != nil {
		return nil, err
	}
	if x.Rank() != 3 || len(image) != len(block) || !sane(image) {
		return nil, fmt.Errorf("image %v and block %v for columns of shape %v", image, block, x.Shape())
	}
	g := &conv{}
	if g.axes, err = c.windows(image, block); err != nil {
		return nil, err
	}
	if err := c.slide(&g.axes, len(image)); err != nil {
		return nil, err
	}
	taps, out, in := volume(g.axes, kernelSize), volume(g.axes, outSize), volume(g.axes, inSize)
	s := x.Shape()
	if s[1]%int64(taps) != 0 || s[2] != int64(out) {
		return nil, c.badOperand(0, x)
	}
	channels := int(s[1]) / taps
	shape := append([]int64{s[0], int64(channels)}, image...)
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	for i := range int(s[0]) * channels {
		cols, dst := v[i*taps*out:(i+1)*taps*out], r[i*in:(i+1)*in]
		g.patches(func(row, at, from, step, count int) {
			if from < 0 {
				return
			}
			for k, e := range cols[row*out+at:][:count] {
				dst[from+k*step] += e
			}
		}, 1, 0, out)
		if err := c.tick(taps * out); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, x.DType(), shape, r))
}
