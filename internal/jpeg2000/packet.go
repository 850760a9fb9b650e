package jpeg2000

import (
	"bytes"
	"cmp"
	"errors"
	"math/bits"
	"slices"
)

var errPacket = errors.New("a packet header is damaged")

// tagTree codes the values of an array, of which each level holds the least of four of the level below (B.10.2).
type tagTree struct {
	levels []tagLevel // the leaves first
}

type tagLevel struct {
	wide  int
	nodes []tagNode
}

// tagNode is known to be at least low; it is low if known.
type tagNode struct {
	low   int32
	known bool
}

func newTagTree(wide, high int) tagTree {
	t := tagTree{}
	for {
		t.levels = append(t.levels, tagLevel{wide, make([]tagNode, wide*high)})
		if wide*high == 1 {
			return t
		}
		wide, high = (wide+1)/2, (high+1)/2
	}
}

// below reads as far as is needed to tell whether the leaf is below the threshold.
func (t *tagTree) below(r *headerBits, leaf, threshold int) bool {
	x, y := leaf%t.levels[0].wide, leaf/t.levels[0].wide
	low := int32(0)
	for k := len(t.levels) - 1; ; k-- {
		l := &t.levels[k]
		n := &l.nodes[y>>k*l.wide+x>>k]
		n.low = max(n.low, low)
		for !n.known && n.low < int32(threshold) {
			if r.bit() != 0 {
				n.known = true
			} else {
				n.low++
			}
		}
		low = n.low
		if k == 0 {
			return n.known && low < int32(threshold)
		}
	}
}

// headerBits reads the bits of packet headers; a zero bit is stuffed behind a byte of ones (B.10.1).
type headerBits struct {
	in    *input
	last  int
	count int
}

func (r *headerBits) bit() int {
	if r.count == 0 {
		r.count = 8
		if r.last == 0xff {
			r.count = 7
		}
		r.last = r.in.number(1)
	}
	r.count--
	return r.last >> r.count & 1
}

func (r *headerBits) bits(n int) (v int) {
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

// end skips to the end of the byte, and over the one that is stuffed.
func (r *headerBits) end() {
	if r.last == 0xff {
		r.in.number(1)
	}
	r.count, r.last = 0, 0
}

// packetReader reads the packets of a tile in order.
type packetReader struct {
	tile   *tile
	bodies [][]byte
	packed [][]byte // headers apart from the bodies, if there are any
	body   input
	header input
}

// read reads all packets of the tile (B.12).
func (t *tile) read(bodies, packed [][]byte) error {
	r := &packetReader{tile: t, bodies: bodies, packed: packed}
	changes := t.params.changes
	if changes == nil {
		changes = []progression{{order: t.params.progression, layerEnd: t.params.layers, resolutionEnd: 33, componentEnd: len(t.components)}}
	}
	for _, c := range changes {
		if err := r.progress(c); err != nil {
			return err
		}
	}
	for _, p := range t.precincts {
		if p.layers < t.params.layers {
			return errors.New("progression order changes leave packets out")
		}
	}
	return nil
}

// progress reads the packets within the bounds of c that have not been read yet (B.12.2). For each resolution, component and precinct
// they begin with the first layer that is missing.
func (r *packetReader) progress(c progression) error {
	var list []*precinct
	layerEnd := min(c.layerEnd, r.tile.params.layers)
	first := layerEnd
	for _, p := range r.tile.precincts {
		if p.resolution >= c.resolution && p.resolution < c.resolutionEnd && p.component >= c.component && p.component < c.componentEnd && p.layers < layerEnd {
			list = append(list, p)
			first = min(first, p.layers)
		}
	}
	slices.SortFunc(list, func(a, b *precinct) int {
		position := cmp.Or(cmp.Compare(a.y, b.y), cmp.Compare(a.x, b.x))
		res, comp, index := cmp.Compare(a.resolution, b.resolution), cmp.Compare(a.component, b.component), cmp.Compare(a.index, b.index)
		switch c.order {
		case orderRPCL:
			return cmp.Or(res, position, comp, index)
		case orderPCRL:
			return cmp.Or(position, comp, res, index)
		case orderCPRL:
			return cmp.Or(comp, position, res, index)
		}
		return cmp.Or(res, comp, index)
	})
	switch c.order {
	case orderLRCP:
		for l := first; l < layerEnd; l++ {
			if err := r.layer(list, l); err != nil {
				return err
			}
		}
	case orderRLCP:
		for len(list) > 0 {
			n := 0
			for n < len(list) && list[n].resolution == list[0].resolution {
				n++
			}
			for l := first; l < layerEnd; l++ {
				if err := r.layer(list[:n], l); err != nil {
					return err
				}
			}
			list = list[n:]
		}
	default:
		for _, p := range list {
			for p.layers < layerEnd {
				if err := r.packet(p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// layer reads one layer of some precincts.
func (r *packetReader) layer(list []*precinct, l int) error {
	for _, p := range list {
		if p.layers == l {
			if err := r.packet(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// packet reads the next packet of a precinct (B.9, B.10).
func (r *packetReader) packet(p *precinct) error {
	for len(r.body.b) == 0 && len(r.bodies) > 0 {
		r.body.b, r.bodies = r.bodies[0], r.bodies[1:]
	}
	if bytes.HasPrefix(r.body.b, []byte{markerSOP >> 8, markerSOP & 255, 0, 4}) && r.tile.params.sop { // A.8.1
		r.body.take(6)
	}
	header := &r.body
	if r.packed != nil {
		for len(r.header.b) == 0 && len(r.packed) > 0 {
			r.header.b, r.packed = r.packed[0], r.packed[1:]
		}
		header = &r.header
	}
	h := &headerBits{in: header}
	var included []inclusion
	if h.bit() != 0 {
		for n := range p.bands {
			b := &p.bands[n]
			k := &r.tile.components[p.component]
			planes := k.resolutions[p.resolution].bands[n].planes + int(k.params.shift)
			for i := range b.blocks {
				var err error
				if included, err = b.block(h, i, p.layers, planes, k.params.coding.style, included); err != nil {
					return err
				}
				if header.short {
					return errShort
				}
			}
		}
	}
	h.end()
	if r.tile.params.eph { // A.8.2
		if bytes.HasPrefix(header.b, []byte{markerEPH >> 8, markerEPH & 255}) {
			header.take(2)
		}
	}
	if header.short {
		return errShort
	}
	for _, c := range included {
		s := r.body.take(c.bytes)
		if r.body.short {
			return errShort
		}
		if c.block.data == nil {
			c.block.data = s
		} else {
			c.block.data = append(c.block.data, s...) // s has no room behind it, so that this never writes to the input
		}
	}
	p.layers++
	return nil
}

// inclusion is what a packet holds of a block.
type inclusion struct {
	block *block
	bytes int
}

// block reads what a packet header says of block i (B.10.4 to B.10.7).
func (b *precinctBand) block(h *headerBits, i, layer, planes int, style byte, list []inclusion) ([]inclusion, error) {
	q := &b.blocks[i]
	if q.included {
		if h.bit() == 0 {
			return list, nil
		}
	} else {
		if !b.inclusion.below(h, i, layer+1) {
			return list, nil
		}
		zero := 0
		for !b.zeros.below(h, i, zero+1) {
			if zero++; zero >= planes || h.in.short {
				return nil, errPacket
			}
		}
		if planes-zero > 62 {
			return nil, errPlanes
		}
		q.included, q.planes = true, uint8(planes-zero)
	}
	passes := h.passes()
	for h.bit() != 0 {
		if q.lengthBits++; q.lengthBits > 32 {
			return nil, errPacket
		}
	}
	total := 0
	for passes > 0 {
		s := q.open(style)
		n := min(passes, segmentPasses(style, q.segments)-s.passes)
		bytes := h.bits(int(q.lengthBits) + bits.Len(uint(n)) - 1)
		s.passes += n
		s.bytes += bytes
		total += bytes
		passes -= n
		if q.passes += uint16(n); int(q.passes) > 3*int(q.planes)-2 || h.in.short {
			return nil, errPacket
		}
	}
	return append(list, inclusion{q, total}), nil
}

// passes reads the number of passes (Table B.4).
func (h *headerBits) passes() int {
	if h.bit() == 0 {
		return 1
	}
	if h.bit() == 0 {
		return 2
	}
	if n := h.bits(2); n < 3 {
		return 3 + n
	}
	if n := h.bits(5); n < 31 {
		return 6 + n
	}
	return 37 + h.bits(7)
}

// open is the segment that takes the next pass of a block.
func (q *block) open(style byte) *segment {
	if n := len(q.segments); n == 0 || q.segments[n-1].passes == segmentPasses(style, q.segments) {
		q.segments = append(q.segments, segment{})
	}
	return &q.segments[len(q.segments)-1]
}

// segmentPasses is the number of passes that the last of the segments may have (Table D.8, D.9): with bypass, ten up to the fourth
// cleanup pass, then two that bypass and one that does not.
func segmentPasses(style byte, s []segment) int {
	switch {
	case style&styleTermAll != 0:
		return 1
	case style&styleBypass == 0:
		return 1 << 16
	case len(s) == 1:
		return 10
	case len(s)%2 == 0:
		return 2
	}
	return 1
}
