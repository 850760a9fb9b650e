package decompose

import (
	"fmt"
	"math"
)

// budget is what may remain of the whole model, in MACs or in bytes of weights.
type budget struct {
	share float64
	cost  func(level) int64
	whole int64
	unit  string
}

// rest is the cost of the model with what is chosen so far.
func (b budget) rest(ls []*layer) int64 {
	n := b.whole
	for _, l := range ls {
		if l.best != nil {
			n -= b.cost(l.asIs()) - b.cost(*l.best)
		}
	}
	return n
}

// damage is what a level is thought to do to the outputs.
func (l *layer) damage(v *level) float64 {
	if v == nil {
		return 0
	}
	return l.perError * noise(v.err)
}

// noise is a relative error as the ratio of what is lost to what is left: outputs suffer in proportion to it far longer than to the error
// itself.
func noise(e float64) float64 { return e / math.Max(1-e, 1e-3) }

// allocate chooses levels until the budget is met: each time the step, of whatever layer, that does the least damage for what it saves.
// Levels that would do more than worst on their own are left out. It reports whether the budget is met.
func allocate(ls []*layer, b budget, worst float64) bool {
	time := 0.0
	for _, l := range ls {
		time += l.asIs().seconds
	}
	paid := 0.0
	for b.rest(ls) > int64(b.share*float64(b.whole)) {
		var to *level
		var where *layer
		least := 0.0
		for _, l := range ls {
			at := l.asIs()
			if l.best != nil {
				at = *l.best
			}
			now, cost, seconds := l.damage(l.best), b.cost(at), at.seconds
			for i := range l.levels {
				v := &l.levels[i]
				if b.cost(*v) >= cost || l.damage(v) > worst {
					continue
				}
				// Half of what counts is the budget, the other half the time that is the reason for it.
				saves := float64(cost-b.cost(*v))/float64(b.whole) + (seconds-v.seconds)/time
				if saves <= 0 {
					continue
				}
				price := (l.damage(v) - now + 1e-9) / saves
				if to == nil || price < least {
					to, where, least = v, l, price
				}
			}
		}
		if to == nil {
			return false
		}
		where.best, paid = to, math.Max(paid, least)
	}
	relax(ls, b, time, paid)
	return true
}

// relax takes back what the last steps saved beyond the budget: each time the step that repairs most damage, as long as the budget holds and
// what it gives up would have been worth more than the dearest step that was taken.
func relax(ls []*layer, b budget, time, paid float64) {
	for {
		room := int64(b.share*float64(b.whole)) - b.rest(ls)
		var to *level
		var where *layer
		most := 0.0
		offer := func(l *layer, v *level, as level) {
			gain, more := l.damage(l.best)-l.damage(v), b.cost(as)-b.cost(*l.best)
			gives := float64(more)/float64(b.whole) + (as.seconds-l.best.seconds)/time
			if gain > most && more <= room && gain > paid*gives {
				to, where, most = v, l, gain
			}
		}
		for _, l := range ls {
			if l.best == nil {
				continue
			}
			for i := range l.levels {
				offer(l, &l.levels[i], l.levels[i])
			}
			offer(l, nil, l.asIs())
		}
		if where == nil {
			return
		}
		where.best = to
	}
}

// byEnergy chooses for each layer the cheapest level whose error is within 1 − energy.
func byEnergy(ls []*layer, energy, worst float64) {
	for _, l := range ls {
		for i := range l.levels {
			v := &l.levels[i]
			if v.err <= 1-energy && l.damage(v) <= worst && (l.best == nil || v.seconds < l.best.seconds) {
				l.best = v
			}
		}
	}
}

// why says for what reason a layer that could have been decomposed was not; met says that the budget is met without it.
func (l *layer) why(worst float64, o Options, met bool) string {
	if l.refused != "" {
		return l.refused
	}
	least := &l.levels[0]
	for i := range l.levels {
		if l.damage(&l.levels[i]) < l.damage(least) {
			least = &l.levels[i]
		}
	}
	if d := l.damage(least); d > worst {
		return fmt.Sprintf("alone it would move the outputs by %.2g, more than max-drift=%g (%s, rank %s, error %.3f)", d, worst, least.kind, least.rank, least.err)
	}
	if o.Energy > 0 {
		return fmt.Sprintf("no rank that pays keeps energy=%g; %.3f is the most", o.Energy, 1-least.err)
	}
	if !met {
		return "no rank of it saves enough for what the outputs would move"
	}
	return "the budget is met without it"
}

func (r rank) String() string {
	if r.p > 0 {
		return fmt.Sprintf("%d/%d", r.r, r.p)
	}
	return fmt.Sprint(r.r)
}
