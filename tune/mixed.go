package tune

import (
	"cmp"
	"math"
	"slices"
)

// mixed finds which groups of layers to leave in float where a quantizer of the whole model misses the floor: each group alone first, and
// then the groups that gave back most of the loss for the least of the gain, ever more of them (as in Dong et al., HAWQ, ICCV 2019, with
// losses measured in place of the spectrum of the Hessian).
type mixed struct {
	stage int
	with  Genome // the quantizer alone
	keep  []int  // genes that leave a group in float
}

func (y *mixed) next(s *State) Batch {
	y.stage++
	switch y.stage {
	case 1:
		if y.with = missing(s); y.with == nil {
			return Batch{}
		}
		for i, gene := range s.Space.Genes {
			if gene.Kind == Keep {
				y.keep = append(y.keep, i)
			}
		}
		b := Batch{Keep: len(y.keep)}
		for _, i := range y.keep {
			b.Genomes = append(b.Genomes, change(y.with, i, 1))
		}
		return b
	case 2:
		if y.with == nil {
			return Batch{}
		}
		b := Batch{Keep: 2}
		g := y.with
		for n, i := range y.order(s) {
			if g = change(g, i, 1); n > 0 && n < len(y.keep)-1 { // one alone was measured, and all are the model in float
				b.Genomes = append(b.Genomes, g)
			}
		}
		return b
	}
	return Batch{}
}

// missing is the quantizer of the whole model that misses the floor and promises most otherwise, nil where there is none, or where one that
// holds the floor lowers the objectives as much.
func missing(s *State) (r Genome) {
	least, held := 0.0, 0.0
	for i, gene := range s.Space.Genes {
		if gene.Kind != Quantize {
			continue
		}
		for l := 1; l < len(gene.Level); l++ {
			g := change(s.Space.Whole(), i, l)
			x := s.Result(g)
			if x == nil || x.Err != "" || x.Rung < 0 {
				continue
			}
			base := s.Base(x.Rung)
			weight, miss := s.Goal.weight(base, x.Values), s.Goal.Floored(base, x.Values)
			if miss == 0 && x.Rung == s.Top() {
				held = min(held, weight)
			} else if m := weight + miss/10; m < least { // ten points are worth a factor of e
				least, r = m, g
			}
		}
	}
	if r != nil && s.Goal.weight(s.Base(s.Result(r).Rung), s.Result(r).Values) >= held {
		return nil
	}
	return r
}

// order sorts the groups by what they gave back of the loss for what they cost of the gain.
func (y *mixed) order(s *State) []int {
	alone := s.Result(y.with)
	loss, weight := s.Loss(alone), s.Goal.weight(s.Base(alone.Rung), alone.Values)
	worth := func(i int) float64 {
		x := s.Result(change(y.with, i, 1))
		if x == nil || x.Err != "" || x.Rung < 0 {
			return math.Inf(-1)
		}
		const least = 1e-3 // what a group costs at least, in logarithms
		return (loss - s.Loss(x)) / max(s.Goal.weight(s.Base(x.Rung), x.Values)-weight, least)
	}
	r := slices.Clone(y.keep)
	slices.SortStableFunc(r, func(a, b int) int { return cmp.Compare(worth(b), worth(a)) })
	return r
}
