package decompose

import "math"

// op is a convolution or product as the cost model sees it: positions read and written, channels, taps of the window, groups.
type op struct {
	in, out   int64
	cin, cout int64
	taps      int64
	groups    int64
	depthwise bool
}

func (o op) macs() int64 {
	if o.depthwise {
		return o.out * o.cout * o.taps
	}
	positions := o.out
	if o.in < o.out && o.taps > 1 { // transposed
		positions = o.in
	}
	return positions * o.cin / o.groups * o.cout * o.taps
}

func (o op) params() int64 {
	if o.depthwise {
		return o.cout * o.taps
	}
	return o.cin / o.groups * o.cout * o.taps
}

// Rates of one core, as measured for ONNX Runtime on chains of convolutions that fit its caches: they set operators in proportion to
// each other; nothing depends on their absolute size.
const (
	macsPerSecond  = 50e9
	bytesPerSecond = 50e9
	secondsPerNode = 1e-6
)

// seconds models the time of an operator: the larger of its arithmetic and of the values it moves, and a constant for the call. Channels
// are computed in blocks of whole vectors, of 8 or of 16 floats; the model is the mean of the two.
func (o op) seconds() float64 {
	moved := 4 * (float64(o.in*o.cin) + float64(o.out*o.cout) + float64(o.params()))
	t := 0.0
	for _, lanes := range []int64{8, 16} {
		t += math.Max(float64(o.padded(lanes).macs())/macsPerSecond, moved/bytesPerSecond) / 2
	}
	return t + secondsPerNode
}

// padded is the operator with channels rounded up to blocks.
func (o op) padded(lanes int64) op {
	up := func(n int64) int64 { return (n + lanes - 1) / lanes * lanes }
	if o.depthwise {
		o.cout = up(o.cout)
		return o
	}
	if o.cin/o.groups > 4 { // kernels for images do not pad their channels
		o.cin = up(o.cin/o.groups) * o.groups
	}
	o.cout = up(o.cout/o.groups) * o.groups
	return o
}
