// Package blockwise stores weights in 4 or 8 bits with a scale for each block of consecutive weights that are summed: as
// DequantizeLinear with blocks, or as MatMulNBits and GatherBlockQuantized of ONNX Runtime.
package blockwise

import (
	"math"
)

// Spec is how a block is quantized.
type Spec struct {
	Bits      int
	Block     int  // weights a block, along the axis that is summed
	Symmetric bool // zero is the middle of the steps; otherwise each block has a zero point
	Search    bool // tries narrower ranges than the whole one, and takes that of the least squared error
}

// levels is the number of steps.
func (s Spec) levels() int { return 1 << s.Bits }

// middle is the zero point of a symmetric block, in unsigned steps.
func (s Spec) middle() int { return s.levels() / 2 }

// shrinks are the shares of the whole range that a search tries.
var shrinks = [...]float32{1, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.65}

// grid is a scale and a zero point: step q stands for (q - zero) * scale.
type grid struct {
	scale float32
	zero  int
}

// choose finds the grid of a block. round narrows a scale to the type that it is stored in. weigh, if any, says how much the error of
// each weight counts.
func (s Spec) choose(x, weigh []float32, round func(float32) float32) grid {
	best := s.whole(x, 1, round)
	if !s.Search || s.Bits > 4 {
		return best
	}
	least := s.loss(x, weigh, best)
	for _, r := range shrinks[1:] {
		if least == 0 {
			break
		}
		g := s.whole(x, r, round)
		if e := s.loss(x, weigh, g); e < least {
			best, least = g, e
		}
	}
	return best
}

// whole is the grid over a share of the range of x.
func (s Spec) whole(x []float32, share float32, round func(float32) float32) grid {
	var lo, hi float32 // 0 is among the steps
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	lo, hi = lo*share, hi*share
	if s.Symmetric {
		// The negative side has one step more.
		top := max(-lo/float32(s.middle()), hi/float32(s.middle()-1))
		return grid{positive(round(top)), s.middle()}
	}
	scale := positive(round((hi - lo) / float32(s.levels()-1)))
	return grid{scale, min(max(int(math.RoundToEven(float64(-lo/scale))), 0), s.levels()-1)}
}

// positive is a scale that can be divided by: that of a block of zeros, or one that vanished in its type, is 1.
func positive(s float32) float32 {
	if s > 0 && 1/s < math.MaxFloat32 {
		return s
	}
	return 1
}

// magic added to a float32 and taken away again rounds it to an integer, to nearest even.
const magic = 1.5 * (1 << 23)

// steps writes the steps of x.
func (s Spec) steps(x []float32, g grid, q []uint8) {
	lo, hi := float32(-g.zero), float32(s.levels()-1-g.zero)
	for i, v := range x {
		r := min(max(float32(v/g.scale), lo), hi)
		q[i] = uint8(int(float32(r+magic)-magic) + g.zero)
	}
}

// loss is the squared error of x on g.
func (s Spec) loss(x, weigh []float32, g grid) float32 {
	lo, hi := float32(-g.zero), float32(s.levels()-1-g.zero)
	inverse := 1 / g.scale
	var sum float32
	for i, v := range x {
		r := min(max(float32(v*inverse), lo), hi)
		d := float32(float32(float32(r+magic)-magic)*g.scale) - v
		d = float32(d * d)
		if weigh != nil {
			d = float32(d * weigh[i])
		}
		sum = float32(sum + d)
	}
	return sum
}
