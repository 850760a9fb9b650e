package jpeg2000

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// coding is the coding style of a component: SPcod or SPcoc (A.6.1, A.6.2).
type coding struct {
	levels     int // of decomposition
	xcb, ycb   int // exponents of the size of code-blocks
	style      byte
	reversible bool
	precincts  [33]uint8 // exponents of the size of precincts by resolution, that of the height in the high bits
}

// quantization is QCD or QCC (A.6.4, A.6.5).
type quantization struct {
	guard   int
	derived bool
	steps   []quantStep
}

// quantStep is a step size of a band: exponent and mantissa.
type quantStep struct{ exponent, mantissa int }

// componentParams are the parameters of a component. The ranks say where they come from: COC comes before COD, and both of a tile
// before those of the main header (A.6.1).
type componentParams struct {
	coding     *coding
	quant      *quantization
	codingRank int8
	quantRank  int8
	shift      uint8 // of the region of interest
}

// params are the parameters of the main header or of a tile.
type params struct {
	progression int
	layers      int
	transform   bool // of the first three components
	sop, eph    bool
	components  []componentParams
	changes     []progression // POC
	tileChanges bool          // they are of the tile
}

// progression is an order of packets with bounds: resolutions, components and layers up to, but not including, the last ones.
type progression struct {
	order                                 int
	resolution, component                 int
	layerEnd, resolutionEnd, componentEnd int
}

// Orders of progression (Table A.16).
const (
	orderLRCP = iota
	orderRLCP
	orderRPCL
	orderPCRL
	orderCPRL
)

const (
	rankDefault    = 1 // of COD and QCD
	rankComponent  = 2 // of COC and QCC
	rankTile       = 2 // added in the header of a tile
	maxProgression = 255
)

// segment takes over a marker segment of a header. Those of no concern are skipped.
func (p *params) segment(marker int, s *input, tile bool) error {
	rank := int8(0)
	if tile {
		rank = rankTile
	}
	var err error
	switch marker {
	case markerCOD:
		err = p.readCOD(s, rank+rankDefault)
	case markerCOC:
		var c *componentParams
		if c, err = p.component(s); err == nil {
			err = c.readCoding(s, s.number(1)&1 != 0, rank+rankComponent)
		}
	case markerQCD:
		var q *quantization
		if q, err = readQuantization(s); err == nil {
			for i := range p.components {
				p.components[i].setQuant(q, rank+rankDefault)
			}
		}
	case markerQCC:
		var c *componentParams
		var q *quantization
		if c, err = p.component(s); err == nil {
			if q, err = readQuantization(s); err == nil {
				c.setQuant(q, rank+rankComponent)
			}
		}
	case markerRGN:
		var c *componentParams
		if c, err = p.component(s); err == nil {
			if s.number(1) != 0 {
				return errMarkers
			}
			c.shift = uint8(s.number(1))
		}
	case markerPOC:
		err = p.readPOC(s, tile)
	}
	if err == nil && s.short {
		err = errMarkers
	}
	return err
}

// complete says whether the main header has all that it must have.
func (p *params) complete() error {
	for _, c := range p.components {
		if c.coding == nil || c.quant == nil || p.layers == 0 {
			return errors.New("the main header has no COD or QCD")
		}
	}
	return nil
}

// index reads the index of a component, which has two bytes if there are many.
func (p *params) index(s *input) int {
	if len(p.components) > 256 {
		return s.number(2)
	}
	return s.number(1)
}

func (p *params) component(s *input) (*componentParams, error) {
	i := p.index(s)
	if s.short || i >= len(p.components) {
		return nil, errMarkers
	}
	return &p.components[i], nil
}

func (c *componentParams) setQuant(q *quantization, rank int8) {
	if rank >= c.quantRank {
		c.quant, c.quantRank = q, rank
	}
}

func (p *params) readCOD(s *input, rank int8) error {
	style := s.number(1)
	p.sop, p.eph = style&2 != 0, style&4 != 0
	p.progression, p.layers = s.number(1), s.number(2)
	transform := s.number(1)
	if s.short || p.progression > orderCPRL || p.layers == 0 || transform > 1 {
		return errMarkers
	}
	p.transform = transform == 1
	one := componentParams{}
	if err := one.readCoding(s, style&1 != 0, rank); err != nil {
		return err
	}
	for i := range p.components {
		if c := &p.components[i]; rank >= c.codingRank {
			c.coding, c.codingRank = one.coding, rank
		}
	}
	return nil
}

// readCoding reads the parameters that COD and COC share (Table A.20).
func (c *componentParams) readCoding(s *input, precincts bool, rank int8) error {
	k := &coding{levels: s.number(1), xcb: s.number(1) + 2, ycb: s.number(1) + 2, style: byte(s.number(1))}
	wavelet := s.number(1)
	k.reversible = wavelet == 1
	if s.short || k.levels > 32 || k.xcb > 10 || k.ycb > 10 || k.xcb+k.ycb > 12 || wavelet > 1 {
		return errMarkers
	}
	if k.style > 63 {
		return errExtension
	}
	for r := range k.precincts {
		k.precincts[r] = 0xff
		if precincts && r <= k.levels {
			n := uint8(s.number(1))
			if s.short || r > 0 && (n&15 == 0 || n>>4 == 0) {
				return errMarkers
			}
			k.precincts[r] = n
		}
	}
	if rank >= c.codingRank {
		c.coding, c.codingRank = k, rank
	}
	return nil
}

func readQuantization(s *input) (*quantization, error) {
	style := s.number(1)
	q := &quantization{guard: style >> 5, derived: style&31 == 1}
	if style&31 > 2 {
		return nil, errMarkers
	}
	for len(s.b) > 0 && len(q.steps) < 97 {
		if style&31 == 0 {
			q.steps = append(q.steps, quantStep{exponent: s.number(1) >> 3})
			continue
		}
		n := s.number(2)
		q.steps = append(q.steps, quantStep{n >> 11, n & 0x7ff})
	}
	if len(q.steps) == 0 {
		return nil, errMarkers
	}
	return q, nil
}

// step is the exponent and mantissa of a band: i counts LL, then HL, LH and HH by rising resolution, n is the level of decomposition
// (E-5).
func (q *quantization) step(i, n, levels int) (quantStep, error) {
	if q.derived {
		s := q.steps[0]
		s.exponent = max(0, s.exponent-levels+n)
		return s, nil
	}
	if i >= len(q.steps) {
		return quantStep{}, errors.New("the codestream is damaged: a band has no step size")
	}
	return q.steps[i], nil
}

// stepSize is the size of a step where the band's nominal range has that many bits (E-3).
func (s quantStep) stepSize(bits int) float32 {
	return float32(math.Ldexp(1+float64(s.mantissa)/2048, bits-s.exponent))
}

func (p *params) readPOC(s *input, tile bool) error {
	if tile && !p.tileChanges { // instead of those of the main header (A.6.6)
		p.changes, p.tileChanges = nil, true
	}
	for len(s.b) > 0 {
		c := progression{resolution: s.number(1), component: p.index(s), layerEnd: s.number(2), resolutionEnd: s.number(1)}
		if c.componentEnd = p.index(s); c.componentEnd == 0 {
			c.componentEnd = len(p.components)
		}
		c.order = s.number(1)
		if s.short || c.order > orderCPRL || len(p.changes) == maxProgression {
			return errMarkers
		}
		p.changes = append(p.changes, c)
	}
	return nil
}

// clone is a copy that the headers of a tile may change.
func (p *params) clone() *params {
	c := *p
	c.components = slices.Clone(p.components)
	c.changes = slices.Clone(p.changes)
	return &c
}

// forTile reads the headers of a tile. Only that of the first tile-part may hold parameters other than POC (Table A.1).
func (p *params) forTile(t *tileData) (*params, [][]byte, error) {
	c, packed := p, t.packed
	for k, h := range t.headers {
		var ppt packedHeaders // whose indices are those of this header
		r := input{b: h}
		for len(r.b) > 0 {
			marker := r.number(2)
			s := r.segment()
			switch {
			case marker == markerPPT:
				if t.packed != nil {
					return nil, nil, errMarkers
				}
				ppt.add(&s)
				continue
			case k > 0 && slices.Contains([]int{markerCOD, markerCOC, markerQCD, markerQCC, markerRGN}, marker):
				return nil, nil, errMarkers
			}
			if c == p {
				c = p.clone()
			}
			if err := c.segment(marker, &s, true); err != nil {
				return nil, nil, fmt.Errorf("tile header: %w", err)
			}
		}
		if ppt.data != nil {
			b, err := ppt.joined()
			if err != nil {
				return nil, nil, err
			}
			packed = append(packed, b)
		}
	}
	return c, packed, nil
}
