package jpeg2000

import (
	"errors"
	"fmt"
	"slices"
)

// Markers (Table A.2).
const (
	markerSOC = 0xff4f
	markerCAP = 0xff50
	markerSIZ = 0xff51
	markerCOD = 0xff52
	markerCOC = 0xff53
	markerQCD = 0xff5c
	markerQCC = 0xff5d
	markerRGN = 0xff5e
	markerPOC = 0xff5f
	markerPPM = 0xff60
	markerPPT = 0xff61
	markerSOT = 0xff90
	markerSOP = 0xff91
	markerEPH = 0xff92
	markerSOD = 0xff93
	markerEOC = 0xffd9
)

var (
	errShort   = errors.New("the data end early")
	errMarkers = errors.New("the codestream is damaged: a marker segment is out of place or wrong")
	// Parts 2 and 15: other wavelets, code-blocks of high throughput and so on.
	errExtension = errors.New("extensions of other parts of the standard are not read")
)

// component is what SIZ says of a component (A.5.1).
type component struct {
	depth  int // bits
	signed bool
	dx, dy int // distance of samples on the reference grid
}

// size is SIZ: areas on the reference grid, and the components (A.5.1, B.2, B.3).
type size struct {
	x0, y0, x1, y1     int // the picture
	tx0, ty0, tdx, tdy int // first tile and distance of tiles
	components         []component
}

func (s *size) tilesWide() int { return ceilDiv(s.x1-s.tx0, s.tdx) }
func (s *size) tilesHigh() int { return ceilDiv(s.y1-s.ty0, s.tdy) }

// area is the part [x0, x1) by [y0, y1) of the reference grid as samples of a component (B-5).
func (c component) area(r rect) rect {
	return rect{ceilDiv(r.x0, c.dx), ceilDiv(r.y0, c.dy), ceilDiv(r.x1, c.dx), ceilDiv(r.y1, c.dy)}
}

// rect is half open.
type rect struct{ x0, y0, x1, y1 int }

func (r rect) w() int      { return r.x1 - r.x0 }
func (r rect) h() int      { return r.y1 - r.y0 }
func (r rect) empty() bool { return r.x1 <= r.x0 || r.y1 <= r.y0 }

// shrunk is r at 1/2**n of the resolution (B-14).
func (r rect) shrunk(n int) rect {
	return rect{ceilShift(r.x0, n), ceilShift(r.y0, n), ceilShift(r.x1, n), ceilShift(r.y1, n)}
}

func ceilDiv(a, b int) int   { return (a + b - 1) / b }
func ceilShift(a, n int) int { return (a + 1<<n - 1) >> n }

// input reads big-endian numbers; behind the end they are zero and short is set.
type input struct {
	b     []byte
	short bool
}

func (r *input) number(bytes int) (n int) {
	for _, x := range r.take(bytes) {
		n = n<<8 | int(x)
	}
	return n
}

func (r *input) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// segment reads the parameters of a marker segment behind its marker.
func (r *input) segment() input {
	n := r.number(2)
	return input{b: r.take(n - 2), short: n < 2}
}

// codestream is a codestream taken apart, as far as that is possible without decoding (Annex A).
type codestream struct {
	size
	coding params // of the main header
	tiles  []tileData
}

// tileData is what the tile-parts of a tile hold.
type tileData struct {
	parts   int
	headers [][]byte // the marker segments
	bodies  [][]byte
	packed  [][]byte // packet headers from PPM
}

// readSize reads up to SIZ, which follows SOC at once.
func readSize(r *input) (size, error) {
	if r.number(2) != markerSOC || r.number(2) != markerSIZ {
		return size{}, errMarkers
	}
	s := r.segment()
	if capabilities := s.number(2); capabilities&(3<<14) != 0 {
		return size{}, errExtension
	}
	z := size{}
	for _, p := range []*int{&z.x1, &z.y1, &z.x0, &z.y0, &z.tdx, &z.tdy, &z.tx0, &z.ty0} {
		*p = s.number(4)
	}
	n := s.number(2)
	if s.short || z.x0 >= z.x1 || z.y0 >= z.y1 || z.tx0 > z.x0 || z.ty0 > z.y0 || z.tx0+z.tdx <= z.x0 || z.ty0+z.tdy <= z.y0 ||
		n == 0 || n > 16384 || len(s.b) < 3*n {
		return z, errMarkers
	}
	if z.x1-z.x0 > 1<<48/(z.y1-z.y0) {
		return z, fmt.Errorf("a picture of %d by %d", z.y1-z.y0, z.x1-z.x0)
	}
	for range n {
		depth := s.number(1)
		c := component{depth: depth&127 + 1, signed: depth > 127, dx: s.number(1), dy: s.number(1)}
		if c.dx == 0 || c.dy == 0 {
			return z, errMarkers
		}
		if c.depth > 16 {
			return z, fmt.Errorf("samples of %d bits are not read", c.depth)
		}
		z.components = append(z.components, c)
	}
	return z, nil
}

// readCodestream finds the tile-parts. Every tile must be there.
func readCodestream(b []byte) (*codestream, error) {
	r := &input{b: b}
	z, err := readSize(r)
	if err != nil {
		return nil, err
	}
	tiles := z.tilesWide() * z.tilesHigh()
	if tiles > 65535 || tiles*len(z.components) > 1<<24 { // the latter so that empty ones take no time to speak of
		return nil, fmt.Errorf("%d tiles of %d components", tiles, len(z.components))
	}
	if tiles > len(b)/14 { // SOT and SOD alone
		return nil, errShort
	}
	c := &codestream{size: z, coding: params{components: make([]componentParams, len(z.components))}, tiles: make([]tileData, tiles)}
	var packed packedHeaders
	for {
		marker := r.number(2)
		if marker == markerSOT {
			break
		}
		s := r.segment()
		if r.short || s.short {
			return nil, errShort
		}
		switch marker {
		case markerPPM:
			packed.add(&s)
		case markerSOC, markerSIZ, markerSOD, markerEOC, markerPPT:
			return nil, errMarkers
		case markerCAP:
			return nil, errExtension
		default:
			if err := c.coding.segment(marker, &s, false); err != nil {
				return nil, err
			}
		}
	}
	if err := c.coding.complete(); err != nil {
		return nil, err
	}
	headers, err := packed.split()
	if err != nil {
		return nil, err
	}
	if err := c.tileParts(r, headers); err != nil {
		return nil, err
	}
	for _, t := range c.tiles {
		if t.parts == 0 {
			return nil, errShort
		}
	}
	return c, nil
}

// tileParts reads up to EOC, from behind the marker of the first tile-part (A.4.2). Packed headers are those of one tile-part each.
func (c *codestream) tileParts(r *input, packed [][]byte) error {
	for part := 0; ; part++ {
		whole := r.b // from behind the marker
		s := r.segment()
		tile, length, index := s.number(2), s.number(4), s.number(1)
		s.number(1)
		if r.short || s.short {
			return errShort
		}
		if len(s.b) != 0 || tile >= len(c.tiles) || index != c.tiles[tile].parts&255 {
			return errMarkers
		}
		if length == 0 { // the last one, up to EOC
			if length = len(whole) + 2; length >= 4 && string(whole[len(whole)-2:]) == "\xff\xd9" {
				length -= 2
			}
		}
		rest := input{b: whole}
		body := input{b: rest.take(length - 2)}
		r.b = rest.b
		body.take(10)
		if rest.short || body.short {
			return errShort
		}
		header := body.b
		for {
			marker := body.number(2)
			if marker == markerSOD {
				break
			}
			if s := body.segment(); body.short || s.short || marker < 0xff00 {
				return errMarkers
			}
		}
		t := &c.tiles[tile]
		t.parts++
		t.headers = append(t.headers, header[:len(header)-len(body.b)-2])
		t.bodies = append(t.bodies, body.b)
		if packed != nil {
			if part >= len(packed) {
				return errShort
			}
			t.packed = append(t.packed, packed[part])
		}
		marker := r.number(2)
		switch {
		case r.short:
			return errShort
		case marker == markerEOC:
			return nil
		case marker != markerSOT:
			return errMarkers
		}
	}
}

// packedHeaders collects PPM or PPT (A.7.4, A.7.5).
type packedHeaders struct {
	index []int
	data  map[int][]byte
}

func (p *packedHeaders) add(s *input) {
	i := s.number(1)
	if p.data == nil {
		p.data = map[int][]byte{}
	}
	p.index = append(p.index, i)
	p.data[i] = s.b
}

// joined is the data in order of their indices; nil if there are none.
func (p *packedHeaders) joined() ([]byte, error) {
	slices.Sort(p.index)
	var r []byte
	for k, i := range p.index {
		if k > 0 && p.index[k-1] == i {
			return nil, errMarkers
		}
		r = append(r, p.data[i]...)
	}
	return r, nil
}

// split divides PPM into the headers of each tile-part; nil if there are none.
func (p *packedHeaders) split() (r [][]byte, err error) {
	b, err := p.joined()
	if err != nil || p.data == nil {
		return nil, err
	}
	in := input{b: b}
	for len(in.b) > 0 {
		r = append(r, in.take(in.number(4)))
		if in.short {
			return nil, errShort
		}
	}
	return r, nil
}
