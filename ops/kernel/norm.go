package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// batchNormalizationOp is (x - mean) / sqrt(var + epsilon) * scale + B with one set of parameters a channel (or, with
// spatial=0 below opset 9, an element of an image). With training_mode=1 (opset 14) mean and variance are those of the batch and
// the running ones are updated.
func batchNormalizationOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if d := x.DType(); d != ir.Float32 && d != ir.Float64 && d != ir.Float16 && d != ir.BFloat16 {
		return nil, c.badType(d)
	}
	s := x.Shape()
	channels, plane := 1, 1
	if len(s) == 0 {
		return nil, c.badOperand(0, x)
	}
	if len(s) > 1 {
		channels, plane = int(s[1]), product(s[2:])
		if c.Opset < 9 && c.int("spatial", 1) == 0 {
			channels, plane = product(s[1:]), 1
		}
	}
	var params [4][]float64 // scale, B, mean, var
	for i := range params {
		t, err := c.Need(i + 1)
		if err != nil {
			return nil, err
		}
		if t.Len() != int64(channels) {
			return nil, c.badOperand(i+1, t)
		}
		if params[i], err = floats(t); err != nil {
			return nil, err
		}
	}
	training := c.Opset >= 14 && c.int("training_mode", 0) != 0
	if !training && c.wants(1) && len(c.Out) > 1 {
		return nil, errors.New("BatchNormalization with further results is for training")
	}
	if training {
		return batchNormalizeTraining(c, x, params, channels, plane)
	}
	if x.DType() == ir.Float64 {
		return one(batchNormalize[float64](c, x, params[0], params[1], params[2], params[3], plane))
	}
	return one(batchNormalize[float32](c, x, params[0], params[1], params[2], params[3], plane))
}

// batchNormalize computes in float64 and rounds once; plane is the number of neighbouring elements with the same parameters.
func batchNormalize[T float](c *Call, x *ir.Tensor, scale, bias, mean, variance []float64, plane int) (*ir.Tensor, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[T](c, x.Shape())
	if err != nil {
		return nil, err
	}
	eps := float64(c.float("epsilon", 1e-5))
	for i := 0; i < len(r); i += plane {
		ch := i / plane % len(scale)
		m, b, inv := mean[ch], bias[ch], scale[ch]/math.Sqrt(variance[ch]+eps)
		dst := r[i : i+plane]
		for j, e := range v[i : i+plane] {
			dst[j] = T(float64((float64(e)-m)*inv) + b)
		}
		if err := c.tick(4 * plane); err != nil {
			return nil, err
		}
	}
	return pack(x.DType(), x.Shape(), r), nil
}

// batchNormalizeTraining uses the batch's own moments; the further results are the running ones, moved towards them.
func batchNormalizeTraining(c *Call, x *ir.Tensor, params [4][]float64, channels, plane int) ([]ir.Datum, error) {
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	mean, variance := batchMoments(v, channels, plane)
	var y *ir.Tensor
	if x.DType() == ir.Float64 {
		y, err = batchNormalize[float64](c, x, params[0], params[1], mean, variance, plane)
	} else {
		y, err = batchNormalize[float32](c, x, params[0], params[1], mean, variance, plane)
	}
	if err != nil {
		return nil, err
	}
	result := []ir.Datum{y}
	momentum := float64(c.float("momentum", 0.9))
	for i, now := range [][]float64{mean, variance} {
		running, err := c.Need(3 + i)
		if err != nil {
			return nil, err
		}
		u := make([]float64, channels)
		for k := range u {
			u[k] = float64(params[2+i][k]*momentum) + float64(now[k]*(1-momentum))
		}
		t, err := convertFloats(c, running.DType(), running.Shape(), u)
		if err != nil {
			return nil, err
		}
		result = append(result, t)
	}
	return result[:max(1, min(len(result), len(c.Out)))], nil
}

// batchMoments are mean and population variance of each channel of v [N, channels, plane].
func batchMoments(v []float64, channels, plane int) (mean, variance []float64) {
	mean, variance = make([]float64, channels), make([]float64, channels)
	if channels == 0 || plane == 0 {
		return
	}
	n := float64(len(v) / channels)
	for i, e := range v {
		mean[i/plane%channels] += e
	}
	for k := range mean {
		mean[k] /= n
	}
	for i, e := range v {
		d := e - mean[i/plane%channels]
		variance[i/plane%channels] += float64(d * d)
	}
	for k := range variance {
		variance[k] /= n
	}
	return
}

// moments are mean and population variance.
func moments(v []float64) (mean, variance float64) {
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	for _, x := range v {
		d := x - mean
		variance += float64(d * d)
	}
	return mean, variance / float64(len(v))
}

// instanceNormalizationOp normalises each plane of each image and scales it by channel.
func instanceNormalizationOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() < 2 {
		return nil, c.badOperand(0, x)
	}
	return groupNormalize(c, x, int(x.Shape()[1]), int(x.Shape()[1]), float64(c.float("epsilon", 1e-5)))
}

// groupNormalizationOp normalises groups of channels. Scale and bias hold one number a group below opset 21, then one a channel.
func groupNormalizationOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	groups := c.int("num_groups", 0)
	if x.Rank() < 2 || groups <= 0 || x.Shape()[1]%groups != 0 {
		return nil, fmt.Errorf("%d groups of shape %v", groups, x.Shape())
	}
	params := x.Shape()[1]
	if c.Opset < 21 {
		params = groups
	}
	return groupNormalize(c, x, int(groups), int(params), float64(c.float("epsilon", 1e-5)))
}

// groupNormalize normalises x [N, C, ...] over groups of channels; operands 1 and 2 hold params numbers each.
func groupNormalize(c *Call, x *ir.Tensor, groups, params int, eps float64) ([]ir.Datum, error) {
	if !x.DType().IsFloat() {
		return nil, c.badType(x.DType())
	}
	var scale, bias []float64
	for i, dst := range []*[]float64{&scale, &bias} {
		t, err := c.Need(i + 1)
		if err != nil {
			return nil, err
		}
		if t.Len() != int64(params) {
			return nil, c.badOperand(i+1, t)
		}
		if *dst, err = floats(t); err != nil {
			return nil, err
		}
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[float64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	channels, plane := int(x.Shape()[1]), product(x.Shape()[2:])
	n := 0
	if groups > 0 {
		n = channels / groups * plane
	}
	for i := 0; i < len(v); i += n {
		mean, variance := moments(v[i : i+n])
		inv := 1 / math.Sqrt(variance+eps)
		for j := i; j < i+n; j++ {
			p := j / plane % channels * params / channels
			r[j] = float64(float64((v[j]-mean)*inv)*scale[p]) + bias[p]
		}
		if err := c.tick(8 * n); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, x.DType(), x.Shape(), r))
}

// layerNormalizationOp normalises over the axes from attribute axis on. The further results are mean and 1/deviation.
func layerNormalizationOp(c *Call) ([]ir.Datum, error) { return rowNormalize(c, true) }

// rmsNormalizationOp divides by the root of the mean square over the axes from attribute axis on.
func rmsNormalizationOp(c *Call) ([]ir.Datum, error) { return rowNormalize(c, false) }

func rowNormalize(c *Call, centre bool) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if !x.DType().IsFloat() {
		return nil, c.badType(x.DType())
	}
	axis, err := axisOf(c.int("axis", -1), x.Rank())
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	scale, err := c.rowParam(1, s, 1)
	if err != nil {
		return nil, err
	}
	bias := func(int) float64 { return 0 }
	if centre {
		if bias, err = c.rowParam(2, s, 0); err != nil {
			return nil, err
		}
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[float64](c, s)
	if err != nil {
		return nil, err
	}
	rows, n := product(s[:axis]), product(s[axis:])
	means, invs := make([]float64, rows), make([]float64, rows)
	eps := float64(c.float("epsilon", 1e-5))
	for i := range rows {
		row := v[i*n : (i+1)*n]
		mean, variance := moments(row)
		if !centre {
			variance = meanSquare(row)
			mean = 0
		}
		inv := 1 / math.Sqrt(variance+eps)
		means[i], invs[i] = mean, inv
		for j, e := range row {
			k := i*n + j
			r[k] = float64(float64((e-mean)*inv)*scale(k)) + bias(k)
		}
		if err := c.tick(16 * n); err != nil {
			return nil, err
		}
	}
	to := x.DType()
	if t, _ := c.Tensor(1); c.Op == ir.Op("RMSNormalization") && t != nil {
		to = t.DType() // the standard gives the result the scale's type
	}
	y, err := convertFloats(c, to, s, r)
	if err != nil {
		return nil, err
	}
	result := []ir.Datum{y}
	stash := ir.DType(c.int("stash_type", int64(ir.Float32)))
	reduced := slices.Concat(s[:axis], ones(len(s)-axis))
	for i, list := range [][]float64{means, invs} {
		if centre && i+1 < len(c.Out) {
			t, err := convertFloats(c, stash, reduced, list)
			if err != nil {
				return nil, err
			}
			result = append(result, t)
		}
	}
	return result, nil
}

// rowParam reads operand i, which broadcasts to shape, as a function of the place in shape; def if it is omitted.
func (c *Call) rowParam(i int, shape []int64, def float64) (func(int) float64, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return func(int) float64 { return def }, nil
	}
	if to, err := broadcast(shape, t.Shape()); err != nil || !slices.Equal(to, shape) {
		return nil, c.badOperand(i, t)
	}
	v, err := c.floats(t)
	if err != nil {
		return nil, err
	}
	tail := shape[len(shape)-t.Rank():]
	if slices.Equal(tail, t.Shape()) { // the usual case
		return func(k int) float64 { return v[k%len(v)] }, nil
	}
	to, from := strides(shape), broadcastStrides(t.Shape(), shape)
	return func(k int) float64 {
		at := 0
		for a, d := range shape {
			at += k / to[a] % int(d) * from[a]
		}
		return v[at]
	}, nil
}

func meanSquare(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x * x)
	}
	return sum / float64(len(v))
}

// meanVarianceNormalizationOp is (x - mean) / sqrt(variance) over attribute axes, with the 1e-9 of the specification.
func meanVarianceNormalizationOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if !x.DType().IsFloat() {
		return nil, c.badType(x.DType())
	}
	list := []int64{0, 2, 3}
	if a := c.Attr("axes"); a != nil {
		list = a.Ints()
	}
	axes, err := axesOf(list, x.Rank())
	if err != nil {
		return nil, err
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	red := reduceOver(x.Shape(), axes, true)
	mean, err := sumFloats(c, x.Shape(), v, red, sumMean)
	if err != nil {
		return nil, err
	}
	centred, err := zip(c, v, mean, x.Shape(), red.shape, x.Shape(), func(a, b float64) float64 { return a - b })
	if err != nil {
		return nil, err
	}
	dev, err := sumFloats(c, x.Shape(), centred, red, sumSquare)
	if err != nil {
		return nil, err
	}
	for i := range dev {
		dev[i] = math.Sqrt(dev[i]/float64(red.count)) + 1e-9
	}
	r, err := zip(c, centred, dev, x.Shape(), red.shape, x.Shape(), func(a, b float64) float64 { return a / b })
	if err != nil {
		return nil, err
	}
	return one(convertFloats(c, x.DType(), x.Shape(), r))
}

// lpNormalizationOp divides vectors along an axis by their p-norm (1 or 2); the zero vector stays.
func lpNormalizationOp(c *Call) ([]ir.Datum, error) {
	p := c.int("p", 2)
	if p != 1 && p != 2 {
		return nil, fmt.Errorf("norm %d is neither 1 nor 2", p)
	}
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", -1), x.Rank())
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	f := func(v []float64) {
		norm := 0.0
		for _, e := range v {
			if p == 1 {
				norm += math.Abs(e)
			} else {
				norm += float64(e * e)
			}
		}
		if p == 2 {
			norm = math.Sqrt(norm)
		}
		if norm == 0 {
			return
		}
		for i := range v {
			v[i] /= norm
		}
	}
	switch computeType(x.DType()) {
	case ir.Float32:
		return one(vectors[float32](c, x, product(s[:axis]), int(s[axis]), product(s[axis+1:]), f))
	case ir.Float64:
		return one(vectors[float64](c, x, product(s[:axis]), int(s[axis]), product(s[axis+1:]), f))
	}
	return nil, c.badType(x.DType())
}

// lrnOp divides by (bias + alpha/size * sum of squares over size neighbouring channels) ** beta.
func lrnOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	size := int(c.int("size", 0))
	if x.Rank() < 2 || size <= 0 || !x.DType().IsFloat() {
		return nil, fmt.Errorf("size %d for %s", size, x.Type())
	}
	alpha, beta, bias := float64(c.float("alpha", 1e-4)), float64(c.float("beta", 0.75)), float64(c.float("bias", 1))
	before, after := (size-1)/2, size-1-(size-1)/2
	f := func(v []float64) {
		squares := make([]float64, len(v))
		for i, e := range v {
			squares[i] = float64(e * e)
		}
		for i := range v {
			sum := 0.0
			for _, q := range squares[max(0, i-before):min(len(v), i+after+1)] {
				sum += q
			}
			v[i] /= fmath.Pow(bias+float64(alpha/float64(size)*sum), beta)
		}
	}
	s := x.Shape()
	if x.DType() == ir.Float64 {
		return one(vectors[float64](c, x, int(s[0]), int(s[1]), product(s[2:]), f))
	}
	return one(vectors[float32](c, x, int(s[0]), int(s[1]), product(s[2:]), f))
}
