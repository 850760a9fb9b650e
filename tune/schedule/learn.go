package schedule

import (
	"cmp"
	"math"
	"slices"
)

// boosted predicts a number from features by a sum of small regression trees, each fitted to what those before it leave (Friedman,
// "Greedy Function Approximation: A Gradient Boosting Machine", 2001), as AutoTVM does for the times of candidates (Chen et al., 2018).
type boosted struct {
	base  float64
	trees []*node
}

// node is a question, or at a leaf an answer.
type node struct {
	feature   int
	limit     float64
	low, high *node // below the limit, and not
	value     float64
}

const (
	trees  = 60
	depth  = 3
	leaf   = 4 // samples at least
	shrink = 0.15
	// examples that learning takes; before, the analytical model stands alone
	enough = 24
)

func (n *node) at(x []float64) float64 {
	for n.low != nil {
		if x[n.feature] < n.limit {
			n = n.low
		} else {
			n = n.high
		}
	}
	return n.value
}

func (b *boosted) predict(x []float64) float64 {
	y := b.base
	for _, t := range b.trees {
		y += shrink * t.at(x)
	}
	return y
}

// fit learns from rows x with results y; nil: there are too few.
func fit(x [][]float64, y []float64) *boosted {
	if len(x) < enough {
		return nil
	}
	b := &boosted{}
	for _, v := range y {
		b.base += v / float64(len(y))
	}
	rest := make([]float64, len(y))
	rows := make([]int, len(y))
	for i := range rows {
		rest[i], rows[i] = y[i]-b.base, i
	}
	for range trees {
		t := grow(x, rest, rows, depth)
		b.trees = append(b.trees, t)
		for i := range rest {
			rest[i] -= shrink * t.at(x[i])
		}
	}
	return b
}

// grow splits rows where that lowers the sum of squares most.
func grow(x [][]float64, y []float64, rows []int, depth int) *node {
	sum := 0.0
	for _, i := range rows {
		sum += y[i]
	}
	n := &node{value: sum / (float64(len(rows)) + 1)} // drawn to zero a little
	if depth == 0 || len(rows) < 2*leaf {
		return n
	}
	best, count := 1e-12, float64(len(rows))
	order := slices.Clone(rows)
	for f := range x[rows[0]] {
		slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(x[a][f], x[b][f]), cmp.Compare(a, b)) })
		left := 0.0
		for k, i := range order[:len(order)-leaf] {
			left += y[i]
			if k+1 < leaf || x[i][f] == x[order[k+1]][f] {
				continue
			}
			c := float64(k + 1)
			if gain := left*left/c + (sum-left)*(sum-left)/(count-c) - sum*sum/count; gain > best {
				best, n.feature, n.limit = gain, f, (x[i][f]+x[order[k+1]][f])/2
			}
		}
	}
	if best <= 1e-12 {
		return n
	}
	var low, high []int
	for _, i := range rows {
		if x[i][n.feature] < n.limit {
			low = append(low, i)
		} else {
			high = append(high, i)
		}
	}
	if len(low) == 0 || len(high) == 0 { // the limit rounds to one of two numbers
		return n
	}
	n.low, n.high = grow(x, y, low, depth-1), grow(x, y, high, depth-1)
	return n
}

// example is a measured candidate.
type example struct {
	Layer    string    `json:"layer"`
	Lanes    int       `json:"lanes"`
	Compiler string    `json:"compiler"`
	Cycles   float64   `json:"cycles"`
	Features []float64 `json:"features"`
	seconds  float64
}

// learn fits what the analytical model does not know: the logarithm of the time beside that of its cycles.
func learn(list []example) *boosted {
	var x [][]float64
	var y []float64
	for _, e := range list {
		x, y = append(x, e.Features), append(y, math.Log(e.seconds/e.Cycles))
	}
	return fit(x, y)
}

// guess is the logarithm of the time that is expected, up to a constant; without a learned model the analytical one's.
func guess(b *boosted, cycles float64, features []float64) float64 {
	y := math.Log(cycles)
	if b != nil {
		y += b.predict(features)
	}
	return y
}

// agreement says how well the models order the candidates of each layer: the mean of Spearman's rank correlation over layers with five
// examples or more. The learned one is fitted without the layers that it is asked about.
func agreement(list []example) (analytical, learned float64, layers int) {
	by := map[string][]example{}
	var keys []string
	for _, e := range list {
		if by[e.Layer] == nil {
			keys = append(keys, e.Layer)
		}
		by[e.Layer] = append(by[e.Layer], e)
	}
	const folds = 4
	for k := range folds {
		var rest []example
		for i, key := range keys {
			if i%folds != k {
				rest = append(rest, by[key]...)
			}
		}
		model := learn(rest)
		for i, key := range keys {
			if i%folds != k || len(by[key]) < 5 {
				continue
			}
			var a, b, c []float64
			for _, e := range by[key] {
				a, b, c = append(a, e.seconds), append(b, e.Cycles), append(c, guess(model, e.Cycles, e.Features))
			}
			analytical, learned, layers = analytical+spearman(a, b), learned+spearman(a, c), layers+1
		}
	}
	if layers == 0 {
		return 0, 0, 0
	}
	return analytical / float64(layers), learned / float64(layers), layers
}

// spearman is the correlation of ranks; ties have the mean of theirs. It is 0 where one side is constant.
func spearman(a, b []float64) float64 {
	x, y := ranks(a), ranks(b)
	mean := float64(len(a)-1) / 2
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mean) * (y[i] - mean)
		xx += (x[i] - mean) * (x[i] - mean)
		yy += (y[i] - mean) * (y[i] - mean)
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

func ranks(a []float64) []float64 {
	order := make([]int, len(a))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(a[i], a[j]) })
	r := make([]float64, len(a))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && a[order[j]] == a[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			r[order[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return r
}
