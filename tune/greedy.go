package tune

import (
	"cmp"
	"math"
	"slices"
)

// Greedy takes the step that lowers the objectives most while the floors hold, again and again. Steps are foreseen from what single choices
// did, as if their losses and the logarithms of their shares added up; the most promising ones, pairs of choices among them, race. So a
// choice that pays only with another one is found, too, as is one that has to be taken back for a better one.
type Greedy struct {
	at     Genome
	failed int
}

// Name implements Strategy.
func (y *Greedy) Name() string { return "greedy" }

// What a step tries, and how often it may fail in a row.
const (
	stepSingles = 5
	stepPairs   = 7
	stepOpen    = 3 // candidates that a race left behind and that look better than the best by now
	stepKeep    = 2
	stepFails   = 3
	pairsOf     = 14 // single choices that pairs are made of
)

// effect is what a choice does: points lost, and the weight of the objectives.
type effect struct{ loss, weight float64 }

// Next implements Strategy.
func (y *Greedy) Next(s *State) Batch {
	best := s.Best()
	if best == nil {
		return Batch{}
	}
	if y.at != nil && slices.Equal(y.at, best.Genome) {
		if y.failed++; y.failed >= stepFails {
			return Batch{}
		}
	} else {
		y.at, y.failed = best.Genome, 0
	}
	e := effects(s)
	base := s.Base(best.Rung)
	now := effect{s.Loss(best), s.Goal.weight(base, best.Values)}
	type move struct {
		g     Genome
		merit float64
	}
	var singles, pairs []move
	consider := func(list *[]move, g Genome) {
		if s.Seen(g) {
			return
		}
		f := now
		for i := range g {
			f.loss += e[i][g[i]].loss - e[i][y.at[i]].loss
			f.weight += e[i][g[i]].weight - e[i][y.at[i]].weight
		}
		*list = append(*list, move{g, foreseen(s, f)})
	}
	sorted := func(list []move) []move {
		slices.SortStableFunc(list, func(a, b move) int { return cmp.Compare(a.merit, b.merit) })
		return list
	}
	var all []move // tried or not, to make pairs of
	for i, gene := range s.Space.Genes {
		for l := range gene.Level {
			if l == int(y.at[i]) || math.IsInf(e[i][l].weight, 1) {
				continue
			}
			g := change(y.at, i, l)
			consider(&singles, g)
			all = append(all, move{g, foreseen(s, effect{now.loss + e[i][l].loss - e[i][y.at[i]].loss, now.weight + e[i][l].weight - e[i][y.at[i]].weight})})
		}
	}
	all = sorted(all)
	for i, a := range all[:min(len(all), pairsOf)] {
		for _, b := range all[:i] {
			if g, ok := join(y.at, a.g, b.g); ok {
				consider(&pairs, g)
			}
		}
	}
	b := Batch{Keep: stepKeep}
	singles, pairs = sorted(singles), sorted(pairs)
	for _, m := range singles[:min(len(singles), stepSingles)] {
		b.Genomes = append(b.Genomes, m.g)
	}
	for _, m := range pairs[:min(len(pairs), stepPairs)] {
		b.Genomes = append(b.Genomes, m.g)
	}
	var open []*Result
	for _, r := range s.Results() {
		if r.Err == "" && r.Rung >= 0 && r.Rung < s.Top() && s.merit(r) < s.merit(best) {
			open = append(open, r)
		}
	}
	open = s.byMerit(open)
	for _, r := range open[:min(len(open), stepOpen)] {
		b.Genomes = append(b.Genomes, r.Genome)
	}
	return b
}

// join makes both changes of at, if they are of different genes.
func join(at, a, b Genome) (Genome, bool) {
	r := slices.Clone(a)
	for i := range b {
		if b[i] == at[i] {
			continue
		}
		if a[i] != at[i] {
			return nil, false
		}
		r[i] = b[i]
	}
	return r, true
}

// foreseen is the merit that an effect would have. What is foreseen is not exact: a step that would miss the floor by little is tried, too.
func foreseen(s *State, f effect) float64 {
	m := f.weight
	if len(s.Goal.Floors) == 0 {
		return m + math.Max(f.loss, 0)/10
	}
	room := math.Inf(1)
	for _, c := range s.Goal.Floors {
		switch {
		case c.What == Drop:
			room = math.Min(room, c.Bound)
		default:
			d := 100 * (s.Base(s.Top())[Quality] - c.Bound)
			if c.Most {
				d = -d
			}
			room = math.Min(room, d)
		}
	}
	if over := f.loss - 1.25*room; over > 0 {
		return 1000 + over
	}
	return m
}

// effects are what the levels of each gene did alone, as far as that was measured; levels between and beyond are in proportion. A choice
// that failed has an infinite weight.
func effects(s *State) [][]effect {
	r := make([][]effect, len(s.Space.Genes))
	for i, gene := range s.Space.Genes {
		r[i] = make([]effect, len(gene.Level))
		known := map[int]effect{}
		for l := 1; l < len(gene.Level); l++ {
			x := s.Result(change(s.Space.Whole(), i, l))
			switch {
			case x == nil:
			case x.Err != "":
				known[l] = effect{0, math.Inf(1)}
			default:
				known[l] = effect{s.Loss(x), s.Goal.weight(s.Base(x.Rung), x.Values)}
			}
		}
		for l := 1; l < len(gene.Level); l++ {
			if k, ok := known[l]; ok {
				r[i][l] = k
				continue
			}
			near, dist := 0, len(gene.Level)
			for k, e := range known {
				if d := max(k-l, l-k); !math.IsInf(e.weight, 1) && (d < dist || d == dist && k < near) {
					near, dist = k, d
				}
			}
			if near > 0 {
				f := float64(l) / float64(near)
				r[i][l] = effect{known[near].loss * f * f, known[near].weight * f}
			} else if len(known) > 0 || pointless(s, gene) {
				r[i][l].weight = math.Inf(1) // it does not work here
			}
		}
	}
	return r
}
