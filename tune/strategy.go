package tune

import "slices"

// Strategy proposes candidates. It is a function of what was measured and of the seed, so that the same measurements lead to the same result.
type Strategy interface {
	Name() string
	// Next is what to measure next; an empty batch: there is nothing more to try.
	Next(s *State) Batch
}

// Batch is some candidates that race against each other.
type Batch struct {
	Genomes []Genome
	// Keep is how many of them are measured on all data.
	Keep int
	// Low has them all measured on the first rung only.
	Low bool
	// Order sorts results of a round, the best first; nil: by the goal.
	Order func([]*Result) []*Result
}

// Strategies by name; auto is all of them in this order.
func Strategies(name string) []Strategy {
	all := []Strategy{&Sensitivity{}, &Greedy{}, &NSGA2{}}
	switch name {
	case "sensitivity":
		return all[:1]
	case "greedy":
		return all[:2]
	case "nsga2":
		return []Strategy{all[0], all[2]}
	}
	return all
}

// StrategyNames lists what Strategies takes.
func StrategyNames() []string { return []string{"auto", "sensitivity", "greedy", "nsga2"} }

// Sensitivity measures choices one by one: those for the whole model at every level, which race gene by gene, so that there is something to
// show early, and then join what was best before; then a quantizer that misses the floor with groups of layers in float; then choices for a
// group of layers at the middle level.
type Sensitivity struct {
	gene   int // of the whole model, the next
	raced  int // the one that raced last, from 1; 0: it was joined
	mixed  mixed
	groups bool
}

// Name implements Strategy.
func (y *Sensitivity) Name() string { return "sensitivity" }

// Next implements Strategy.
func (y *Sensitivity) Next(s *State) Batch {
	if y.raced > 0 {
		g := joined(s, y.raced-1)
		if y.raced = 0; g != nil {
			return Batch{Genomes: []Genome{g}, Keep: 1}
		}
	}
	for ; y.gene < len(s.Space.Genes); y.gene++ {
		if gene := s.Space.Genes[y.gene]; gene.Group < 0 {
			b := Batch{Keep: 2}
			for l := 1; l < len(gene.Level); l++ {
				b.Genomes = append(b.Genomes, change(s.Space.Whole(), y.gene, l))
			}
			y.gene++
			y.raced = y.gene
			return b
		}
	}
	if b := y.mixed.next(s); len(b.Genomes) > 0 {
		return b
	}
	if y.groups {
		return Batch{}
	}
	y.groups = true
	b := Batch{Keep: 2}
	for i, gene := range s.Space.Genes {
		if gene.Group >= 0 && gene.Kind != Keep && !pointless(s, gene) {
			b.Genomes = append(b.Genomes, change(s.Space.Whole(), i, len(gene.Level)/2))
		}
	}
	return b
}

// joined is the best candidate so far that has none of a gene with the best level of it, if both are better than nothing.
func joined(s *State, gene int) Genome {
	var best *Result
	for _, r := range s.byMerit(s.Full()) {
		if r.Genome[gene] == 0 {
			best = r
			break
		}
	}
	if best == nil {
		return nil
	}
	level, least := 0, 0.0
	for l := 1; l < len(s.Space.Genes[gene].Level); l++ {
		r := s.Result(change(s.Space.Whole(), gene, l))
		if r != nil && r.Err == "" && r.Rung == s.Top() && s.merit(r) < least {
			level, least = l, s.merit(r)
		}
	}
	if g := change(best.Genome, gene, level); level > 0 && !s.Seen(g) {
		return g
	}
	return nil
}

// change is g with a gene at another level.
func change(g Genome, gene, level int) Genome {
	r := slices.Clone(g)
	r[gene] = uint8(level)
	return r
}

// pointless reports whether a gene sets the type of a group where the same for the whole model lowers no objective.
func pointless(s *State, gene Gene) bool {
	if gene.Kind != Precision || gene.Group < 0 {
		return false
	}
	for i, whole := range s.Space.Genes {
		for l := 1; whole.Kind == Precision && whole.Group < 0 && l < len(whole.Level); l++ {
			r := s.Result(change(s.Space.Whole(), i, l))
			if r == nil || r.Err == "" && r.Rung >= 0 && s.Goal.weight(s.Base(r.Rung), r.Values) < 0 {
				return false
			}
		}
	}
	return true
}
