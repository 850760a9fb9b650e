package c

import "math"

// Features are what is known of a candidate before it is measured. Cycles is the analytical model's guess at its time; the rest is for
// what is learned.
type Features struct {
	Cycles float64
	Work   float64 // multiplications with addition
	Loads  float64 // vectors and numbers loaded, for each multiplication of vectors
	Chains float64 // independent sums in a tile
	Spill  float64 // registers that a tile needs beyond those that there are
	Ragged float64 // the share of tiles' places that the sizes leave unused
	Tiles  float64 // how many there are
	Code   float64 // multiplications that are unrolled in a tile
	Stream float64 // bytes read again from beyond the first-level cache, for each multiplication
	Rows   float64 // of a strip, 0 without
}

// Vector lists the features for a learner, by magnitude.
func (f Features) Vector() []float64 {
	l := math.Log2
	return []float64{l(1 + f.Cycles), l(1 + f.Work), f.Loads, l(1 + f.Chains), f.Spill, f.Ragged, l(1 + f.Tiles), l(1 + f.Code), l(1 + 64*f.Stream), l(1 + f.Rows)}
}

// caches of a core, in bytes, as the model takes them, and what a cycle brings from the second and from beyond.
const (
	firstLevel, secondLevel  = 32 << 10, 1 << 20
	secondRate, farRate      = 32.0, 8.0
	latency, multipliers     = 4, 2
	loadPorts, tileOverhead  = 2, 24
	registers16, registersUp = 32, 16
)

// traffic is what reading so many bytes costs that come again and again out of so many.
func traffic(read, of float64) (cycles, stream float64) {
	switch {
	case of <= firstLevel:
		return 0, 0
	case of <= secondLevel:
		return read / secondRate, read
	}
	return read / farRate, read
}

// cost is the analytical model: for each term of its sums a tile needs the multipliers, the ports that load weights and inputs, and as
// many cycles as one sum's chain; what does not stay in the first cache between its uses comes from further away (the roofline of
// Williams et al., 2009, taken for a tile, as by Low et al., "Analytical Modeling Is Enough for High-Performance BLIS", 2016).
func (t *tiling) cost(c Choice) Features {
	blocks := min(c["blocks"], t.blocks+t.blocks%2)
	v := float64(t.vectors(blocks))
	rows, cols := t.cut(c["pixels"])
	registers := float64(registersUp)
	if t.lanes == 16 {
		registers = registers16
	}
	var f Features
	groups := math.Ceil(float64(t.blocks) / float64(blocks))
	pixels := float64(t.rows * t.cols)
	rowTiles := 0.0
	for _, r := range rows {
		rowTiles += float64(r.n)
		for _, l := range cols {
			p := float64(r.step * l.step)
			n := float64(r.n*l.n) * groups * float64(t.groups)
			term := max(v*p/multipliers, (v+p)/loadPorts)
			if v*p < latency*multipliers {
				term = max(term, latency)
			}
			spill := max(0, v*p+v+1-registers)
			f.Spill = max(f.Spill, spill/registers)
			term += spill
			f.Cycles += n * (term*float64(t.terms) + 2*v*p + tileOverhead)
			f.Tiles += n
			f.Loads += n * p * (v + p) / (v * p)
			f.Chains += n * v * p
			f.Code = max(f.Code, v*p*float64(c["unroll"]))
		}
	}
	loops := float64(t.terms) / float64(max(c["unroll"], 1))
	f.Cycles += f.Tiles * loops * 2
	f.Loads /= pixels * groups * float64(t.groups)
	f.Chains /= f.Tiles
	f.Work = pixels * float64(t.blocks*block*t.terms*t.groups)
	f.Ragged = math.Ceil(float64(t.blocks)/float64(blocks))*float64(blocks)/float64(t.blocks) - 1
	weights := float64(t.blocks*block*t.terms*t.bytes) * float64(t.groups)
	input := pixels * float64(min(t.terms, 64)*t.bytes) * float64(t.groups)
	read, of := weights*rowTiles, weights
	if c["outer"] == 1 {
		read, of = input*groups, input
	}
	cycles, stream := traffic(read, of)
	f.Cycles += cycles
	f.Stream = stream / f.Work
	return f
}
