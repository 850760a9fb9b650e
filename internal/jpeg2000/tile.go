package jpeg2000

import (
	"errors"
	"math/bits"
)

// Orientations of bands, in the order in which they lie in the data: which direction is high-pass is in the bits (Table B.1).
const (
	orientLL = iota
	orientHL // horizontally high-pass
	orientLH
	orientHH
)

// tile is a tile with its components down to the code-blocks (Annex B).
type tile struct {
	area       rect
	params     *params
	components []tileComponent
	precincts  []*precinct // all, in no order
}

// tileComponent holds the samples of a component in a tile, first as the coefficients of the bands: each resolution's LL lies in the
// top left corner of the next one.
type tileComponent struct {
	area        rect
	params      *componentParams
	resolutions []resolution
	ints        []int32   // where the transform is reversible
	floats      []float32 // where it is not
}

type resolution struct {
	area      rect
	bands     []band
	precincts []precinct
}

type band struct {
	area   rect
	orient int
	at     int     // of the first coefficient in those of the component
	planes int     // magnitude bits (E-2)
	step   float32 // Δ (E-3)
}

// precinct is the unit of packets: one of each layer.
type precinct struct {
	component, resolution, index int
	x, y                         int // where progressions by position meet it on the reference grid
	layers                       int // read so far
	bands                        []precinctBand
}

// precinctBand is the part of a precinct in a band.
type precinctBand struct {
	blocks    []block // in raster order
	inclusion tagTree
	zeros     tagTree // bit planes that are zero
}

// block is a code-block.
type block struct {
	x0, y0, x1, y1 int32 // in the band
	lengthBits     uint8 // Lblock (B.10.7.1)
	planes         uint8 // that are not zero
	included       bool
	passes         uint16
	data           []byte
	segments       []segment
}

// segment is a codeword segment: passes of a block that are terminated together.
type segment struct {
	passes, bytes int
}

// Sizes in bytes of what the structures of a tile take, about.
const (
	blockBytes      = 120
	precinctBytes   = 600
	resolutionBytes = 400
)

var errLimit = errors.New("the picture takes more memory than allowed")

// budget is what the structures of a tile may still take.
type budget struct {
	packets int   // each precinct has one a layer, and each packet takes at least a byte of the data
	memory  int64 // bytes
}

// newTile lays out a tile (B.3 to B.7).
func newTile(c *codestream, index int, p *params, left budget) (*tile, error) {
	across, down := index%c.tilesWide(), index/c.tilesWide()
	x, y := c.tx0+across*c.tdx, c.ty0+down*c.tdy
	t := &tile{params: p, area: rect{max(x, c.x0), max(y, c.y0), min(x+c.tdx, c.x1), min(y+c.tdy, c.y1)}}
	t.components = make([]tileComponent, len(c.components))
	for i := range t.components {
		k := &t.components[i]
		k.area, k.params = c.components[i].area(t.area), &p.components[i]
		if k.area.empty() {
			continue
		}
		levels := k.params.coding.levels
		if left.memory -= 4*int64(k.area.w())*int64(k.area.h()) + int64(levels+1)*resolutionBytes; left.memory < 0 {
			return nil, errLimit
		}
		k.resolutions = make([]resolution, levels+1)
		for r := range k.resolutions {
			if err := t.resolution(c, i, r, &left); err != nil {
				return nil, err
			}
		}
	}
	for i := range t.components { // now that there are data for all of them
		k := &t.components[i]
		switch {
		case k.area.empty():
		case k.params.coding.reversible:
			k.ints = make([]int32, k.area.w()*k.area.h())
		default:
			k.floats = make([]float32, k.area.w()*k.area.h())
		}
	}
	return t, nil
}

// resolution lays out resolution r of component i with its precincts.
func (t *tile) resolution(c *codestream, i, r int, left *budget) error {
	k := &t.components[i]
	if err := k.resolution(r, c.components[i].depth); err != nil {
		return err
	}
	wide, high := k.precinctGrid(r)
	if left.packets -= wide * high; left.packets < 0 {
		return errShort
	}
	if left.memory -= int64(wide*high) * precinctBytes; left.memory < 0 {
		return errLimit
	}
	for n := range wide * high {
		if err := k.precinct(r, n%wide, n/wide, &left.memory); err != nil {
			return err
		}
	}
	for n := range k.resolutions[r].precincts {
		q := &k.resolutions[r].precincts[n]
		q.component, q.resolution, q.index = i, r, n
		q.x, q.y = k.position(c, i, r, n%wide, n/wide, t.area)
		t.precincts = append(t.precincts, q)
	}
	return nil
}

// resolution sets the area and the bands of resolution r (B.5).
func (k *tileComponent) resolution(r, depth int) error {
	levels := k.params.coding.levels
	z := &k.resolutions[r]
	if z.area = k.area.shrunk(levels - r); z.area.empty() {
		return nil
	}
	n, orients := levels, []int{orientLL}
	if r > 0 {
		n, orients = levels-r+1, []int{orientHL, orientLH, orientHH}
	}
	for i, o := range orients {
		b := band{orient: o, area: k.area.shrunk(n)}
		bits := depth
		if o&orientHL != 0 { // B-15
			b.area.x0, b.area.x1 = ceilShift(k.area.x0-1<<(n-1), n), ceilShift(k.area.x1-1<<(n-1), n)
			b.at += k.resolutions[r-1].area.w()
			bits++
		}
		if o&orientLH != 0 {
			b.area.y0, b.area.y1 = ceilShift(k.area.y0-1<<(n-1), n), ceilShift(k.area.y1-1<<(n-1), n)
			b.at += k.resolutions[r-1].area.h() * k.area.w()
			bits++
		}
		at := i
		if r > 0 {
			at = 3*(r-1) + 1 + i
		}
		s, err := k.params.quant.step(at, n, levels)
		if err != nil {
			return err
		}
		b.planes, b.step = k.params.quant.guard+s.exponent-1, s.stepSize(bits)
		z.bands = append(z.bands, b)
	}
	return nil
}

// exponents are those of the size of precincts.
func (k *tileComponent) exponents(r int) (x, y int) {
	n := k.params.coding.precincts[r]
	return int(n & 15), int(n >> 4)
}

// precinctGrid counts precincts (B-16).
func (k *tileComponent) precinctGrid(r int) (wide, high int) {
	a := k.resolutions[r].area
	if a.empty() {
		return 0, 0
	}
	px, py := k.exponents(r)
	return ceilShift(a.x1, px) - a.x0>>px, ceilShift(a.y1, py) - a.y0>>py
}

// position is the place on the reference grid where progressions by position come upon precinct (i, j): its first corner, or that of
// the tile (B.12.1.3 to B.12.1.5).
func (k *tileComponent) position(c *codestream, component, r, i, j int, tile rect) (x, y int) {
	px, py := k.exponents(r)
	a, down := k.resolutions[r].area, k.params.coding.levels-r
	x, y = tile.x0, tile.y0
	if left := (a.x0>>px + i) << px; left >= a.x0 {
		x = left << down * c.components[component].dx
	}
	if top := (a.y0>>py + j) << py; top >= a.y0 {
		y = top << down * c.components[component].dy
	}
	return x, y
}

// precinct adds the precinct in column i and row j of resolution r, with its code-blocks (B.6, B.7).
func (k *tileComponent) precinct(r, i, j int, limit *int64) error {
	z := &k.resolutions[r]
	px, py := k.exponents(r)
	i, j = z.area.x0>>px+i, z.area.y0>>py+j
	if r > 0 { // in the bands
		px, py = px-1, py-1
	}
	xcb, ycb := min(k.params.coding.xcb, px), min(k.params.coding.ycb, py)
	p := precinct{bands: make([]precinctBand, len(z.bands))}
	for n, b := range z.bands {
		a := rect{max(i<<px, b.area.x0), max(j<<py, b.area.y0), min((i+1)<<px, b.area.x1), min((j+1)<<py, b.area.y1)}
		if a.empty() {
			continue
		}
		x0, y0, x1, y1 := a.x0>>xcb, a.y0>>ycb, ceilShift(a.x1, xcb), ceilShift(a.y1, ycb)
		if *limit -= int64(x1-x0) * int64(y1-y0) * blockBytes; *limit < 0 {
			return errLimit
		}
		q := &p.bands[n]
		q.blocks = make([]block, 0, (x1-x0)*(y1-y0))
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				q.blocks = append(q.blocks, block{
					x0: int32(max(x<<xcb, a.x0)), y0: int32(max(y<<ycb, a.y0)),
					x1: int32(min((x+1)<<xcb, a.x1)), y1: int32(min((y+1)<<ycb, a.y1)), lengthBits: 3,
				})
			}
		}
		q.inclusion, q.zeros = newTagTree(x1-x0, y1-y0), newTagTree(x1-x0, y1-y0)
	}
	z.precincts = append(z.precincts, p)
	return nil
}

// decodeBlocks decodes the code-blocks of a component into its coefficients (Annexes D, E and H).
func (k *tileComponent) decodeBlocks(d *blockDecoder) error {
	shift := int(k.params.shift)
	for r := range k.resolutions {
		z := &k.resolutions[r]
		for i := range z.precincts {
			for n := range z.precincts[i].bands {
				b := &z.bands[n]
				for m := range z.precincts[i].bands[n].blocks {
					q := &z.precincts[i].bands[n].blocks[m]
					if !q.included {
						continue
					}
					if err := d.decode(q, b.orient, int(q.planes), k.params.coding.style); err != nil {
						return err
					}
					if shift > 0 {
						d.unshift(shift)
					}
					k.put(d, b, q)
				}
			}
		}
	}
	return nil
}

// unshift brings back the coefficients of the region of interest, which are those that reach 2**shift (H.1). The encoder shifted in
// zeros, so that there is nothing to choose from between them: the middle of the interval is that of the shifted coefficient.
func (d *blockDecoder) unshift(shift int) {
	for i, m := range d.mags {
		if m>>1>>shift == 0 {
			continue
		}
		if d.mags[i] = m >> shift; bits.TrailingZeros64(m) < shift {
			d.mags[i] |= 1
		}
	}
}

// put dequantizes a block (E.1). Where all planes were decoded a reversible coefficient is exact; otherwise it is the middle of the
// interval, rounded towards zero.
func (k *tileComponent) put(d *blockDecoder, b *band, q *block) {
	w := k.area.w()
	at := b.at + (int(q.y0)-b.area.y0)*w + int(q.x0) - b.area.x0
	half := b.step / 2
	for y := range d.h {
		mags, neg := d.mags[y*d.w:][:d.w], d.neg[y*d.w:][:d.w]
		if k.ints != nil {
			for x, dst := 0, k.ints[at+y*w:][:d.w]; x < len(dst); x++ {
				if dst[x] = int32(mags[x] >> 1); neg[x] {
					dst[x] = -dst[x]
				}
			}
			continue
		}
		for x, dst := 0, k.floats[at+y*w:][:d.w]; x < len(dst); x++ {
			if dst[x] = float32(float32(mags[x]) * half); neg[x] {
				dst[x] = -dst[x]
			}
		}
	}
}
