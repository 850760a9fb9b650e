package decompose

import (
	"fmt"
	"math"
)

// settleRounds bounds how often levels are chosen anew.
const settleRounds = 2

// settle chooses levels, and corrects what layers were thought to do to the outputs by what they do in the compressed model: the difference that it
// makes there if one of them is left as it was. Of the choices that meet the budget and take no longer it keeps the one that moves the outputs least.
func (w *work) settle() (met bool, err error) {
	met = w.choose()
	if w.ref == nil {
		return met, nil
	}
	best := w.chosen()
	least, err := w.apart(w.changed())
	if err != nil {
		return met, err
	}
	if !met {
		return w.bound(met, least)
	}
	joint, seconds := least, w.seconds()
	for range settleRounds {
		all := w.changed()
		if len(all) < 2 || math.IsInf(joint, 0) {
			break
		}
		if err := w.correct(all, joint); err != nil {
			return met, err
		}
		last := w.chosen()
		for _, l := range w.layers {
			l.best = nil
		}
		if !w.choose() {
			break
		}
		if equal(last, w.chosen()) {
			break
		}
		if joint, err = w.apart(w.changed()); err != nil {
			return met, err
		}
		if joint < least && w.seconds() <= slower*seconds {
			best, least = w.chosen(), joint
		}
	}
	for i, l := range w.layers {
		l.best = best[i]
	}
	return w.bound(met, least)
}

// bound leaves layers out, the ones that move the outputs most for what they save first, as long as those chosen move them together by more than
// max-drift.
func (w *work) bound(met bool, joint float64) (bool, error) {
	for all := w.changed(); joint > w.worst && len(all) > 0; all = w.changed() {
		var worst *layer
		least, price := joint, 0.0
		for i, l := range all {
			d, err := w.apart(append(append([]*layer{}, all[:i]...), all[i+1:]...))
			if err != nil {
				return false, err
			}
			if p := (joint - d) / float64(max(l.asIs().macs-l.best.macs, 1)); worst == nil || p > price {
				worst, price, least = l, p, d
			}
		}
		worst.refused = fmt.Sprintf("with the others it would move the outputs by %.2g, more than max-drift=%g", joint, w.worst)
		worst.best, joint, met = nil, least, false
	}
	return met, nil
}

// slower is how much more modelled time a choice may take that moves the outputs less.
const slower = 1.02

// seconds is the modelled time of all layers as chosen.
func (w *work) seconds() float64 {
	s := 0.0
	for _, l := range w.layers {
		if l.best != nil {
			s += l.best.seconds
		} else {
			s += l.asIs().seconds
		}
	}
	return s
}

// correct sets what each of the chosen layers does to the outputs by leaving it out; what the others would do is scaled alike.
func (w *work) correct(all []*layer, joint float64) error {
	thought, found := 0.0, 0.0
	is := map[*layer]bool{}
	for i, l := range all {
		if err := w.c.Err(); err != nil {
			return err
		}
		rest := append(append([]*layer{}, all[:i]...), all[i+1:]...)
		d, err := w.apart(rest)
		if err != nil {
			return err
		}
		share := math.Max(joint-d, 0.1*joint/float64(len(all)))
		thought, found, is[l] = thought+l.damage(l.best), found+share, true
		l.perError = share / math.Max(noise(l.best.err), 1e-9)
	}
	if thought > 0 && found > 0 {
		for _, l := range w.layers {
			if !is[l] {
				l.perError *= math.Max(found/thought, 1)
			}
		}
	}
	return nil
}

// changed lists the layers for which a level is chosen.
func (w *work) changed() (r []*layer) {
	for _, l := range w.layers {
		if l.best != nil {
			r = append(r, l)
		}
	}
	return r
}

// chosen are the levels of all layers, nil where none is.
func (w *work) chosen() []*level {
	r := make([]*level, len(w.layers))
	for i, l := range w.layers {
		r[i] = l.best
	}
	return r
}

func equal(a, b []*level) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
