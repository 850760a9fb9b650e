package jpeg2000

import "errors"

// Code-block styles (Table A.19).
const (
	styleBypass  = 1 << iota // later planes bypass the arithmetic coder
	styleReset               // contexts are reset after each pass
	styleTermAll             // each pass ends its codeword segment
	styleCausal              // contexts do not look into the next stripe
	stylePredict             // predictable termination, of no concern to a decoder
	styleSymbols             // a symbol ends each cleanup pass
)

// Flags of a coefficient: which of its neighbours are significant, which of those are negative, and its own state.
const (
	west = 1 << iota
	east
	north
	south
	northWest
	northEast
	southWest
	southEast
	negWest
	negEast
	negNorth
	negSouth
	significant
	refined
	visited // coded in this plane

	neighbours = 1<<8 - 1
)

// zeroContexts is Table D.1: the context by orientation of the band (orientLL and so on) and significant neighbours.
var zeroContexts = zeroCoding()

// signContexts is Table D.3: by the low four bits of the flags and the four sign bits above them, the context times two, plus the
// bit that flips the sign.
var signContexts = signCoding()

func zeroCoding() (t [4][256]uint8) {
	count := func(f int, bits ...int) (n int) {
		for _, b := range bits {
			if f&b != 0 {
				n++
			}
		}
		return n
	}
	for f := range 256 {
		h, v, d := count(f, west, east), count(f, north, south), count(f, northWest, northEast, southWest, southEast)
		t[orientLL][f] = flatContext(h, v, d)
		t[orientLH][f] = flatContext(h, v, d)
		t[orientHL][f] = flatContext(v, h, d)
		t[orientHH][f] = diagonalContext(h+v, d)
	}
	return t
}

func flatContext(h, v, d int) uint8 {
	switch {
	case h == 2:
		return 8
	case h == 1 && v > 0:
		return 7
	case h == 1 && d > 0:
		return 6
	case h == 1:
		return 5
	case v > 0:
		return uint8(2 + v)
	}
	return uint8(min(d, 2))
}

func diagonalContext(hv, d int) uint8 {
	switch {
	case d >= 3:
		return 8
	case d == 2:
		return uint8(6 + min(hv, 1))
	case d == 1:
		return uint8(3 + min(hv, 2))
	}
	return uint8(min(hv, 2))
}

func signCoding() (t [256]uint8) {
	for f := range 256 {
		sum := func(a, b int) (n int) { // Table D.2
			for _, bit := range []int{a, b} {
				switch {
				case f&bit == 0:
				case f&(bit<<4) != 0:
					n--
				default:
					n++
				}
			}
			return max(-1, min(1, n))
		}
		h, v, flip := sum(west, east), sum(north, south), 0
		if h < 0 || h == 0 && v < 0 {
			h, v, flip = -h, -v, 1
		}
		context := signContext + 3*h + v // (0,0) 9, (0,1) 10, (1,-1) 11, (1,0) 12, (1,1) 13
		t[f] = uint8(2*context + flip)
	}
	return t
}

// blockDecoder decodes code-blocks (Annex D). Its memory serves one after another.
type blockDecoder struct {
	mq      mqDecoder
	flags   []uint16 // with a margin of one
	mags    []uint64 // magnitudes with one bit behind the point, in which the middle of the interval that is left is added
	neg     []bool
	w, h    int
	zero    *[256]uint8
	style   byte
	plane   int // that is being decoded
	bypass  bool
	rowFlag int // elements a row of flags
}

var errPlanes = errors.New("a code-block has more bit planes than there can be")

// decode decodes a code-block of w by h coefficients and that many bit planes.
func (d *blockDecoder) decode(b *block, orient int, planes int, style byte) error {
	d.w, d.h = int(b.x1-b.x0), int(b.y1-b.y0)
	d.rowFlag = d.w + 2
	d.flags = zeroed(d.flags, d.rowFlag*(d.h+2))
	d.mags = zeroed(d.mags, d.w*d.h)
	d.neg = zeroed(d.neg, d.w*d.h)
	d.zero, d.style = &zeroContexts[orient], style
	d.mq.reset()
	if planes > 62 || int(b.passes) > 3*planes-2 {
		return errPlanes
	}
	data, pass := b.data, 0
	for _, s := range b.segments {
		d.bypass = style&styleBypass != 0 && pass >= 10 && (pass+2)%3 != 2
		if d.bypass {
			d.mq.startRaw(data[:s.bytes])
		} else {
			d.mq.start(data[:s.bytes])
		}
		data = data[s.bytes:]
		for range s.passes {
			// The first plane has only a cleanup pass (D.3).
			d.plane = planes - 1 - (pass+2)/3
			switch (pass + 2) % 3 {
			case 0:
				d.significance()
			case 1:
				d.refinement()
			default:
				d.cleanup()
			}
			if style&styleReset != 0 {
				d.mq.reset()
			}
			pass++
		}
	}
	return nil
}

func zeroed[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// become makes the coefficient at (x, y) significant, with its sign.
func (d *blockDecoder) become(x, y, i int) {
	var negative bool
	if d.bypass {
		negative = d.mq.raw() != 0
	} else {
		f := d.flags[i]
		s := signContexts[f&15|f>>4&0xf0]
		negative = d.mq.bit(int(s>>1))^uint32(s&1) != 0
	}
	k := y*d.w + x
	d.mags[k] = 3 << d.plane
	sign := uint16(0)
	if negative {
		d.neg[k] = true
		sign = negWest | negEast | negNorth | negSouth
	}
	f, n := d.flags, d.rowFlag
	f[i] |= significant
	f[i-1] |= east | sign&negEast
	f[i+1] |= west | sign&negWest
	f[i+n-1] |= northEast
	f[i+n] |= north | sign&negNorth
	f[i+n+1] |= northWest
	if d.style&styleCausal == 0 || y%4 != 0 { // D.7: the stripe above does not see this one
		f[i-n-1] |= southEast
		f[i-n] |= south | sign&negSouth
		f[i-n+1] |= southWest
	}
}

// significance is the significance propagation pass (D.3.1).
func (d *blockDecoder) significance() {
	for top := 0; top < d.h; top += 4 {
		bottom := min(top+4, d.h)
		for x := range d.w {
			i := (top+1)*d.rowFlag + x + 1
			for y := top; y < bottom; y, i = y+1, i+d.rowFlag {
				f := d.flags[i]
				if f&significant != 0 || f&neighbours == 0 {
					continue
				}
				var bit uint32
				if d.bypass {
					bit = d.mq.raw()
				} else {
					bit = d.mq.bit(int(d.zero[f&neighbours]))
				}
				if bit != 0 {
					d.become(x, y, i)
				}
				d.flags[i] |= visited
			}
		}
	}
}

// refinement is the magnitude refinement pass (D.3.3).
func (d *blockDecoder) refinement() {
	half := uint64(1) << d.plane
	for top := 0; top < d.h; top += 4 {
		bottom := min(top+4, d.h)
		for x := range d.w {
			i := (top+1)*d.rowFlag + x + 1
			for y := top; y < bottom; y, i = y+1, i+d.rowFlag {
				f := d.flags[i]
				if f&(significant|visited) != significant {
					continue
				}
				var bit uint32
				switch {
				case d.bypass:
					bit = d.mq.raw()
				case f&refined != 0:
					bit = d.mq.bit(refineContext + 2)
				case f&neighbours != 0:
					bit = d.mq.bit(refineContext + 1)
				default:
					bit = d.mq.bit(refineContext)
				}
				if bit != 0 {
					d.mags[y*d.w+x] += half
				} else {
					d.mags[y*d.w+x] -= half
				}
				d.flags[i] |= refined
			}
		}
	}
}

// cleanup is the cleanup pass (D.3.4). It ends the plane: no coefficient is visited any more.
func (d *blockDecoder) cleanup() {
	n := d.rowFlag
	for top := 0; top < d.h; top += 4 {
		bottom := min(top+4, d.h)
		for x := range d.w {
			y, i := top, (top+1)*n+x+1
			if bottom-top == 4 && (d.flags[i]|d.flags[i+n]|d.flags[i+2*n]|d.flags[i+3*n])&(significant|visited|neighbours) == 0 {
				if d.mq.bit(runContext) == 0 {
					continue
				}
				run := int(d.mq.bit(uniformContext)<<1 | d.mq.bit(uniformContext))
				y, i = y+run, i+run*n
				d.become(x, y, i)
				y, i = y+1, i+n
			}
			for ; y < bottom; y, i = y+1, i+n {
				f := d.flags[i]
				if f&(significant|visited) == 0 && d.mq.bit(int(d.zero[f&neighbours])) != 0 {
					d.become(x, y, i)
				}
			}
			for k := top; k < bottom; k++ {
				d.flags[(k+1)*n+x+1] &^= visited
			}
		}
	}
	if d.style&styleSymbols != 0 { // D.5; it is not checked, as encoders cut it off where a layer ends
		for range 4 {
			d.mq.bit(uniformContext)
		}
	}
}
