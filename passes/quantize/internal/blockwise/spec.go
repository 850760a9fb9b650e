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
var shrinks = [...]float32{0.95, 0.9, 0.85, 0.8, 0.74, 0.68}

// grid is a scale and a zero point: step q stands for (q - zero) * scale.
type grid struct {
	scale float32
	zero  int
}

// choose finds the grid of a block. round narrows a scale to the type that it is stored in. weigh, if any, says how much the error of
// each weight counts.
func (s Spec) choose(x, weigh []float32, round func(float32) float32) grid {
	var lo, hi float32 // 0 is among the steps
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	best := s.over(lo, hi, round)
	if !s.Search || s.Bits > 4 {
		return best
	}
	least := s.loss(x, weigh, best)
	for _, r := range shrinks {
		if least == 0 {
			break
		}
		g := s.over(lo*r, hi*r, round)
		if e := s.loss(x, weigh, g); e < least {
			best, least = g, e
		}
	}
	return best
}

// over is the grid from lo to hi, of which one may be zero.
func (s Spec) over(lo, hi float32, round func(float32) float32) grid {
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
		r := float32(v * inverse)
		if r < lo {
			r = lo
		}
		if r > hi {
			r = hi
		}
		d := float32(float32(float32(r+magic)-magic)*g.scale) - v
		d = float32(d * d)
		if weigh != nil {
			d = float32(d * weigh[i])
		}
		sum = float32(sum + d)
	}
	return sum
}
