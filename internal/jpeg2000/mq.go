package jpeg2000

// mqState is a row of Table C.2: the probability of the less probable symbol and the states that follow the more and the less
// probable one; swap says that the latter exchanges the two.
type mqState struct {
	qe   uint16
	mps  uint8
	lps  uint8
	swap uint8
}

// mqStates is Table C.2.
var mqStates = [47]mqState{
	{0x5601, 1, 1, 1}, {0x3401, 2, 6, 0}, {0x1801, 3, 9, 0}, {0x0ac1, 4, 12, 0}, {0x0521, 5, 29, 0}, {0x0221, 38, 33, 0},
	{0x5601, 7, 6, 1}, {0x5401, 8, 14, 0}, {0x4801, 9, 14, 0}, {0x3801, 10, 14, 0}, {0x3001, 11, 17, 0}, {0x2401, 12, 18, 0},
	{0x1c01, 13, 20, 0}, {0x1601, 29, 21, 0}, {0x5601, 15, 14, 1}, {0x5401, 16, 14, 0}, {0x5101, 17, 15, 0}, {0x4801, 18, 16, 0},
	{0x3801, 19, 17, 0}, {0x3401, 20, 18, 0}, {0x3001, 21, 19, 0}, {0x2801, 22, 19, 0}, {0x2401, 23, 20, 0}, {0x2201, 24, 21, 0},
	{0x1c01, 25, 22, 0}, {0x1801, 26, 23, 0}, {0x1601, 27, 24, 0}, {0x1401, 28, 25, 0}, {0x1201, 29, 26, 0}, {0x1101, 30, 27, 0},
	{0x0ac1, 31, 28, 0}, {0x09c1, 32, 29, 0}, {0x08a1, 33, 30, 0}, {0x0521, 34, 31, 0}, {0x0441, 35, 32, 0}, {0x02a1, 36, 33, 0},
	{0x0221, 37, 34, 0}, {0x0141, 38, 35, 0}, {0x0111, 39, 36, 0}, {0x0085, 40, 37, 0}, {0x0049, 41, 38, 0}, {0x0025, 42, 39, 0},
	{0x0015, 43, 40, 0}, {0x0009, 44, 41, 0}, {0x0005, 45, 42, 0}, {0x0001, 45, 43, 0}, {0x5601, 46, 46, 0},
}

// The contexts of the coefficients (D.3): nine for zero coding, five for signs, three for refinement, and two more.
const (
	signContext    = 9
	refineContext  = 14
	runContext     = 17
	uniformContext = 18
	numContexts    = 19
)

// mqDecoder is the arithmetic decoder of Annex C with the registers of C.3. Behind its data it reads ones (D.4.1). The bits of
// codeword segments that bypass it (D.6) are read by raw.
type mqDecoder struct {
	a, c  uint32
	count int // shifts until the next byte
	data  []byte
	at    int
	// state and more probable symbol of each context: 2 * index + symbol
	contexts [numContexts]uint8
}

// reset gives the contexts their first states (Table D.7).
func (d *mqDecoder) reset() {
	d.contexts = [numContexts]uint8{0: 2 * 4, runContext: 2 * 3, uniformContext: 2 * 46}
}

func (d *mqDecoder) byteAt(i int) uint32 {
	if i < len(d.data) {
		return uint32(d.data[i])
	}
	return 0xff
}

// start is INITDEC (C.3.5).
func (d *mqDecoder) start(data []byte) {
	d.data, d.at = data, 0
	d.c = d.byteAt(0) << 16
	d.next()
	d.c <<= 7
	d.count -= 7
	d.a = 0x8000
}

// next is BYTEIN (C.3.4): behind a byte of ones come seven bits, or a marker, which ends the data.
func (d *mqDecoder) next() {
	b := d.byteAt(d.at + 1)
	switch {
	case d.byteAt(d.at) != 0xff:
		d.at++
		d.c += b << 8
		d.count = 8
	case b > 0x8f:
		d.c += 0xff00
		d.count = 8
	default:
		d.at++
		d.c += b << 9
		d.count = 7
	}
}

// bit is DECODE (C.3.2).
func (d *mqDecoder) bit(context int) uint32 {
	cx := d.contexts[context]
	s := &mqStates[cx>>1]
	symbol, qe := cx&1, uint32(s.qe)
	d.a -= qe
	var likely bool
	if d.c>>16 < qe {
		likely = d.a < qe
		d.a = qe
	} else {
		d.c -= qe << 16
		if d.a&0x8000 != 0 {
			return uint32(symbol)
		}
		likely = d.a >= qe
	}
	if likely {
		d.contexts[context] = s.mps<<1 | symbol
	} else {
		d.contexts[context] = s.lps<<1 | symbol ^ s.swap
		symbol ^= 1
	}
	for { // RENORMD (C.3.3)
		if d.count == 0 {
			d.next()
		}
		d.a <<= 1
		d.c <<= 1
		d.count--
		if d.a&0x8000 != 0 {
			return uint32(symbol)
		}
	}
}

// startRaw begins a segment that bypasses the arithmetic coder.
func (d *mqDecoder) startRaw(data []byte) { d.data, d.at, d.c, d.count = data, 0, 0, 0 }

// raw reads one bit; behind a byte of ones the first bit of the next is stuffed (D.6).
func (d *mqDecoder) raw() uint32 {
	if d.count == 0 {
		stuffed := d.c == 0xff
		d.c = d.byteAt(d.at)
		d.at++
		if d.count = 8; stuffed {
			d.count = 7
		}
	}
	d.count--
	return d.c >> d.count & 1
}
