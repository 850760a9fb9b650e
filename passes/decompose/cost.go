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

// Rates of one core with vectors of 8 floats, as measured for ONNX Runtime and the embedded engine: they set operators in
// proportion to each other; nothing depends on their absolute size.
const (
	macsPerSecond  = 30e9
	bytesPerSecond = 12e9
	secondsPerNode = 3e-6
	lanes          = 8 // channels are computed in blocks of so many
)

// seconds models the time of an operator: channels rounded up to whole vectors, values moved, and a constant for the call.
func (o op) seconds() float64 {
	padded := o
	up := func(n int64) int64 { return (n + lanes - 1) / lanes * lanes }
	if o.depthwise {
		padded.cout = up(o.cout)
	} else {
		padded.cin, padded.cout = up(o.cin/o.groups)*o.groups, up(o.cout/o.groups)*o.groups
		if o.cin/o.groups < lanes { // image channels: kernels for few channels do not pad
			padded.cin = o.cin
		}
	}
	moved := 4 * (float64(o.in*o.cin) + float64(o.out*o.cout) + float64(o.params()))
	rate := macsPerSecond
	if o.depthwise {
		rate /= 2
	}
	return math.Max(float64(padded.macs())/rate, moved/bytesPerSecond) + secondsPerNode
}
