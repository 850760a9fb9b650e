package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// twister is the generator MT19937 of Matsumoto and Nishimura ("Mersenne Twister", ACM TOMACS 8, 1998), seeded by one number as
// NumPy's RandomState is, which the reference implementation of ONNX draws from.
type twister struct {
	state [624]uint32
	at    int
	spare float64 // the second of a pair of normal numbers
	has   bool
}

func newTwister(seed uint32) *twister {
	t := &twister{at: 624}
	for i := range t.state {
		t.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return t
}

func (t *twister) next() uint32 {
	if t.at == 624 {
		for i := range t.state {
			y := t.state[i]&(1<<31) | t.state[(i+1)%624]&(1<<31-1)
			t.state[i] = t.state[(i+397)%624] ^ y>>1 ^ y&1*0x9908b0df
		}
		t.at = 0
	}
	y := t.state[t.at]
	t.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// uniform is a number of 53 bits in [0, 1).
func (t *twister) uniform() float64 {
	a, b := t.next()>>5, t.next()>>6
	return (float64(float64(a)*(1<<26)) + float64(b)) / (1 << 53)
}

// normal is a number of mean 0 and variance 1, by the polar method of Marsaglia and Bray (1964) in NumPy's order.
func (t *twister) normal() float64 {
	if t.has {
		t.has = false
		return t.spare
	}
	for {
		x, y := 2*t.uniform()-1, 2*t.uniform()-1
		r := float64(x*x) + float64(y*y)
		if r >= 1 || r == 0 {
			continue
		}
		f := math.Sqrt(-2 * fmath.Log(r) / r)
		t.spare, t.has = float64(f*x), true
		return float64(f * y)
	}
}

// generator is the one that attribute seed asks for; seed 0 without it, so that a model gives the same results in every run.
func generator(c *Call) *twister { return newTwister(uint32(int64(c.float("seed", 0)))) }

func randomUniformOp(c *Call) ([]ir.Datum, error) {
	return c.draw(c.Attr("shape").Ints(), ir.Float32, false)
}
func randomNormalOp(c *Call) ([]ir.Datum, error) {
	return c.draw(c.Attr("shape").Ints(), ir.Float32, true)
}

func randomUniformLikeOp(c *Call) ([]ir.Datum, error) { return c.drawLike(false) }
func randomNormalLikeOp(c *Call) ([]ir.Datum, error)  { return c.drawLike(true) }

func (c *Call) drawLike(normal bool) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	return c.draw(x.Shape(), x.DType(), normal)
}

// draw makes a tensor of random numbers: mean + scale*normal, or evenly from low to high.
func (c *Call) draw(shape []int64, d ir.DType, normal bool) ([]ir.Datum, error) {
	if d = ir.DType(c.int("dtype", int64(d))); !d.IsFloat() {
		return nil, c.badType(d)
	}
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	t := generator(c)
	from, width := float64(c.float("low", 0)), float64(c.float("high", 1))-float64(c.float("low", 0))
	if normal {
		from, width = float64(c.float("mean", 0)), float64(c.float("scale", 1))
	}
	for i := range r {
		var x float64
		if normal {
			x = t.normal()
		} else {
			x = t.uniform()
		}
		r[i] = float64(x*width) + from
		if err := c.tick(32); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, d, shape, r))
}

// bernoulliOp is 1 with the probability that each element gives, else 0.
func bernoulliOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	p, err := floats(x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[int64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	t := generator(c)
	for i := range r {
		r[i] = int64(truth(t.uniform() < p[i]))
	}
	return one(convertInts(c, ir.DType(c.int("dtype", int64(x.DType()))), x.Shape(), r))
}

// multinomialOp draws sample_size classes for each row of logarithms of probabilities [batch, classes].
func multinomialOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	n := c.int("sample_size", 1)
	if x.Rank() != 2 || x.Shape()[1] == 0 || n < 0 {
		return nil, fmt.Errorf("%d samples of %s", n, x.Type())
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	shape := []int64{x.Shape()[0], n}
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	t, classes := generator(c), int(x.Shape()[1])
	sums := make([]float64, classes)
	for b := range int(shape[0]) {
		copy(sums, v[b*classes:(b+1)*classes])
		softmax(sums)
		for k := 1; k < classes; k++ {
			sums[k] += sums[k-1]
		}
		for i := range int(n) {
			u, k := float64(t.uniform()*sums[classes-1]), 0
			for k < classes-1 && u >= sums[k] {
				k++
			}
			r[b*int(n)+i] = int64(k)
			if err := c.tick(classes); err != nil {
				return nil, err
			}
		}
	}
	return one(convertInts(c, ir.DType(c.int("dtype", int64(ir.Int32))), shape, r))
}

// dropped is Dropout in training mode: elements are zero with probability ratio, and the others divided by 1-ratio. It needs a
// seed: without one its results would be those of another run.
func dropped(c *Call, x *ir.Tensor, ratio float64) ([]ir.Datum, error) {
	seed := c.Attr("seed")
	if seed == nil {
		return nil, errors.New("Dropout in training mode without a seed is random")
	}
	if !(ratio >= 0 && ratio < 1) {
		return nil, fmt.Errorf("a ratio of %g", ratio)
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[float64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	mask, err := alloc[uint8](c, x.Shape())
	if err != nil {
		return nil, err
	}
	t, scale := newTwister(uint32(seed.Int())), 1/(1-ratio)
	for i, e := range v {
		if t.uniform() >= ratio {
			r[i], mask[i] = float64(e*scale), 1
		}
	}
	y, err := convertFloats(c, x.DType(), x.Shape(), r)
	if err != nil || len(c.Out) < 2 {
		return one(y, err)
	}
	return []ir.Datum{y, boolTensor(x.Shape(), mask)}, nil
}
