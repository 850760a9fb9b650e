package tune

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// NSGA2 breeds candidates from those that lie on the best fronts and far from each other there: Deb, Pratap, Agarwal, Meyarivan, "A fast and
// elitist multiobjective genetic algorithm: NSGA-II" (2002), with their rule for constraints: what holds them beats what does not, and of what
// does not the nearer one.
type NSGA2 struct {
	generation int
	stalled    int
	front      string
}

// Name implements Strategy.
func (y *NSGA2) Name() string { return "nsga2" }

// Sizes of a population and of a generation, and how many generations may leave the front as it is.
const (
	population = 16
	offspring  = 9
	stalls     = 6
)

// Next implements Strategy.
func (y *NSGA2) Next(s *State) Batch {
	front := ""
	for _, r := range s.Front() {
		front += r.Pipeline + "\n"
	}
	if y.stalled++; front != y.front {
		y.front, y.stalled = front, 0
	}
	if y.stalled > stalls {
		return Batch{}
	}
	y.generation++
	rng := rand.New(rand.NewPCG(s.Seed, uint64(y.generation)))
	parents := ranked(s, s.Results())
	parents = parents[:min(len(parents), population)]
	if len(parents) == 0 {
		return Batch{}
	}
	b := Batch{Keep: 3, Order: func(rs []*Result) []*Result { return ranked(s, rs) }}
	fresh := map[string]bool{}
	for range 50 * offspring { // where nearly all was tried
		if len(b.Genomes) == offspring {
			break
		}
		g := cross(rng, pick(rng, parents), pick(rng, parents))
		mutate(rng, s.Space, g)
		if text := s.Space.Pipeline(g); !s.Seen(g) && !fresh[text] {
			fresh[text] = true
			b.Genomes = append(b.Genomes, g)
		}
	}
	return b
}

// pick is the better of two at random: parents are in order.
func pick(rng *rand.Rand, parents []*Result) Genome {
	return parents[min(rng.IntN(len(parents)), rng.IntN(len(parents)))].Genome
}

func cross(rng *rand.Rand, a, b Genome) Genome {
	r := slices.Clone(a)
	for i := range r {
		if rng.IntN(2) == 0 {
			r[i] = b[i]
		}
	}
	return r
}

// mutate changes about one gene and a half.
func mutate(rng *rand.Rand, s *Space, g Genome) {
	for i, gene := range s.Genes {
		if rng.Float64() < 1.5/float64(len(g)) {
			g[i] = uint8(rng.IntN(len(gene.Level)))
		}
	}
}

// ranked sorts results by front and, within one, by how far their neighbours are.
func ranked(s *State, rs []*Result) []*Result {
	var left []*Result
	for _, r := range rs {
		if r.Err == "" && r.Rung >= 0 {
			left = append(left, r)
		}
	}
	axes, miss := map[*Result][]float64{}, map[*Result]float64{}
	for _, r := range left {
		base := s.Base(r.Rung)
		axes[r] = s.Goal.axes(base, r.Values)
		if f := s.Goal.Floored(base, r.Values) - s.slack(r); f > 0 {
			miss[r] = f
		}
	}
	beats := func(a, b *Result) bool {
		if miss[a] > 0 || miss[b] > 0 {
			return miss[a] < miss[b]
		}
		return dominates(axes[a], axes[b])
	}
	var r []*Result
	for len(left) > 0 {
		var front, rest []*Result
		for _, x := range left {
			if slices.ContainsFunc(left, func(o *Result) bool { return beats(o, x) }) {
				rest = append(rest, x)
			} else {
				front = append(front, x)
			}
		}
		r = append(r, spread(front, axes)...)
		left = rest
	}
	return r
}

// spread sorts a front by crowding distance, the loneliest first.
func spread(front []*Result, axes map[*Result][]float64) []*Result {
	if len(front) == 0 {
		return nil
	}
	distance := map[*Result]float64{}
	for k := range axes[front[0]] {
		by := slices.Clone(front)
		slices.SortStableFunc(by, func(a, b *Result) int { return cmp.Compare(axes[a][k], axes[b][k]) })
		low, high := axes[by[0]][k], axes[by[len(by)-1]][k]
		for i, x := range by {
			switch {
			case i == 0 || i == len(by)-1:
				distance[x] = math.Inf(1)
			case high > low && !math.IsInf(high, 1):
				distance[x] += (axes[by[i+1]][k] - axes[by[i-1]][k]) / (high - low)
			}
		}
	}
	r := slices.Clone(front)
	slices.SortStableFunc(r, func(a, b *Result) int { return cmp.Compare(distance[b], distance[a]) })
	return r
}
