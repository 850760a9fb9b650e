package quantize

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Samples that operators are ranked on, and that the whole is measured on where a share of answers is to be held.
const (
	rankedOn   = 6
	measuredOn = 24
	answeredOn = 300
)

// gain is by how many dB the outputs have to improve for a group of operators to stay float.
const gain = 1.5

// withoutIslands leaves depthwise convolutions in float that float operators surround. They have so few products for an element that
// integers hardly pay between a quantizer before and one behind them, and each of the two costs accuracy.
func (p *plan) withoutIslands(ref *measured.Reference) (*plan, measured.Divergence, int, error) {
	exempt := map[*ir.Node]string{}
	for _, u := range p.units {
		if !u.node.Is("Conv") || u.node.Operand(1).Const() == nil || u.node.Operand(1).Const().Shape()[1] != 1 || u.node.Int("group", 1) < 2 {
			continue
		}
		if p.producer(u.node.Operand(0)) == nil && !p.feedsIntegers(u) {
			exempt[u.source] = "a depthwise convolution between float operators gains little and costs accuracy"
		}
	}
	if len(exempt) == 0 {
		return p, measured.Divergence{}, 0, nil
	}
	q, err := p.without(exempt)
	if err != nil {
		return nil, measured.Divergence{}, 0, err
	}
	d, err := q.divergence(ref)
	return q, d, len(exempt), err
}

// goal is what the outputs have to reach: that of a pass around this one, or else the option's.
func (p *plan) goal() passes.Goal {
	if g := p.c.Goal(); g != nil {
		return *g
	}
	return passes.Goal{SQNR: p.o.Protect, Drop: -1}
}

// reached reports whether a divergence is within the goal.
func reached(g passes.Goal, d measured.Divergence) bool {
	if d.Lost > 0 {
		return false
	}
	if g.SQNR > 0 && d.SQNR < g.SQNR {
		return false
	}
	return g.Drop < 0 || 100*(1-d.Agreement) <= g.Drop+1e-9
}

// protect leaves in float what hurts most: the fewest weighted operators, by the divergence of the outputs when each is quantized alone,
// with which the goal is reached. It says what came out.
func (p *plan) protect(data *measured.Calibration) (*plan, string, error) {
	g := p.goal()
	if g.SQNR <= 0 && g.Drop < 0 {
		return p, "", nil
	}
	n := measuredOn
	if g.Drop >= 0 {
		n = answeredOn
	}
	whole, err := data.Limit(n).Reference(p.c.Context(), p.m)
	if err != nil {
		return nil, "", err
	}
	m, err := p.copied()
	if err != nil {
		return nil, "", err
	}
	first, err := whole.Divergence(p.c.Context(), m)
	if err != nil {
		return nil, "", err
	}
	if reached(g, first) {
		return p, "\n  outputs: " + first.String(), nil
	}
	note := ""
	if q, d, n, err := p.withoutIslands(whole); err != nil {
		return nil, "", err
	} else if n > 0 && d.SQNR > first.SQNR+gain {
		note = fmt.Sprintf("\n  outputs: %s; with %d depthwise convolutions between float operators in float: %s", first, n, d)
		if p = q; reached(g, d) {
			return p, note, nil
		}
		first = d
		if m, err = p.copied(); err != nil {
			return nil, "", err
		}
	}
	each, err := whole.Samples(p.c.Context(), m)
	if err != nil {
		return nil, "", err
	}
	ranked, err := p.sensitivity(whole.Pick(worst(each, rankedOn)))
	if err != nil {
		return nil, "", err
	}
	best, d, k, err := p.fewest(g, ranked, whole)
	if err != nil {
		return nil, "", err
	}
	s := note + fmt.Sprintf("\n  outputs: %s; with %d more operators in float: %s", first, k, d)
	if !reached(g, d) {
		s += "\n  warning: " + missed(g) + " is not reached"
	}
	return best, s, nil
}

// worst are the places of the n samples that suffer most: an operator that fails on few inputs shows there.
func worst(each []measured.Divergence, n int) []int {
	at := make([]int, len(each))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(each[a].SQNR, each[b].SQNR) })
	at = at[:min(n, len(at))]
	slices.Sort(at)
	return at
}

func missed(g passes.Goal) string {
	if g.Drop >= 0 {
		return fmt.Sprintf("a drop of %g", g.Drop)
	}
	return fmt.Sprintf("a ratio of %g dB", g.SQNR)
}

// fewWeights is how many of the first most operators hold no more than a twentieth of the weights together: those that are protected without
// being asked for must not take back what quantizing gained.
func (p *plan) fewWeights(ranked []sensitive, most int) int {
	size := func(n *ir.Node) int64 { return n.Operand(p.byNode[n].weight).Const().Len() }
	all, sum := int64(0), int64(0)
	for _, s := range ranked {
		all += size(s.node)
	}
	for k, s := range ranked[:most] {
		if sum += size(s.node); 20*sum > all {
			return k
		}
	}
	return most
}

// fewest finds how many of the ranked operators have to stay float: it doubles their number until the goal is reached, and then searches
// between. Where even half of them do not reach it, it takes the number with the best ratio so far.
func (p *plan) fewest(g passes.Goal, ranked []sensitive, ref *measured.Reference) (*plan, measured.Divergence, int, error) {
	type try struct {
		p *plan
		d measured.Divergence
	}
	tried := map[int]try{}
	at := func(k int) (try, error) {
		if t, ok := tried[k]; ok {
			return t, nil
		}
		exempt := map[*ir.Node]string{}
		for _, s := range ranked[:k] {
			exempt[s.node] = fmt.Sprintf("quantized alone it leaves the outputs at %.1f dB", s.d.SQNR)
		}
		q, err := p.without(exempt)
		if err != nil {
			return try{}, err
		}
		d, err := q.divergence(ref)
		tried[k] = try{q, d}
		return tried[k], err
	}
	low, high, limit := 0, 1, len(ranked)
	if p.c.Goal() == nil {
		limit = p.fewWeights(ranked, (limit+7)/8)
	}
	if limit == 0 {
		t, err := at(0)
		return t.p, t.d, 0, err
	}
	for ; ; high *= 2 {
		high = min(high, limit)
		t, err := at(high)
		if err != nil {
			return nil, t.d, 0, err
		}
		if reached(g, t.d) {
			break
		}
		if high == limit {
			k, most := high, math.Inf(-1)
			for i, t := range tried {
				if t.d.SQNR > most {
					k, most = i, t.d.SQNR
				}
			}
			return tried[k].p, tried[k].d, k, nil
		}
		low = high
	}
	for high-low > 1 {
		mid := (low + high) / 2
		t, err := at(mid)
		if err != nil {
			return nil, t.d, 0, err
		}
		if reached(g, t.d) {
			high = mid
		} else {
			low = mid
		}
	}
	return tried[high].p, tried[high].d, high, nil
}
