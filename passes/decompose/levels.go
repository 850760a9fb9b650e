package decompose

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/linalg"
)

// maxLevels bounds the ranks looked at for each way to write a layer.
const maxLevels = 10

// maxRank bounds the ranks of large layers: beyond it the decomposition itself takes minutes.
const maxRank = 640

// cheaper is the share of the modelled time and of the MACs that a level may take at most: less is not worth a further node.
const cheaper = 0.97

// makeLevels lists the ways to write the layer that cost less than it does, with their errors. The error completes "because".
func (l *layer) makeLevels(kinds []kind, o Options) error {
	was := l.asIs()
	slower := false
	var why error
	for _, k := range kinds {
		if err := l.fits(k); err != nil {
			if len(kinds) == 1 {
				return err
			}
			continue
		}
		ranks, err := l.ranks(k, o)
		if err != nil {
			why = err
			continue
		}
		for _, p := range l.problems() {
			if p.most == nil {
				p.most = map[kind]int{}
			}
			for _, r := range ranks {
				p.most[k] = max(p.most[k], r.r)
			}
		}
		var open []level
		for _, r := range ranks {
			v := l.level(k, r)
			if float64(v.macs) > cheaper*float64(was.macs) {
				continue
			}
			if o.Cost == "time" && v.seconds > cheaper*was.seconds {
				slower = true
				continue
			}
			open = append(open, v)
		}
		if err := l.look(open); err != nil {
			return err
		}
	}
	switch {
	case len(l.levels) > 0:
		return nil
	case why != nil:
		return why
	case slower:
		return fmt.Errorf("it would take longer on the target (as modelled) at every rank that saves operations")
	}
	return errors.New("no rank saves operations")
}

// farBehind is the share of CP's error below which it hardly gets by further sweeps.
const farBehind = 0.9

// look measures levels of one kind, which ascend, and keeps them. CP takes longer than all other kinds together: its ranks are looked at only if the
// one in the middle is not far behind a level of another kind that costs no more.
func (l *layer) look(levels []level) error {
	if len(levels) > 0 && levels[0].kind == cp && len(l.levels) > 0 {
		middle := &levels[len(levels)/2]
		if err := l.measure(middle); err != nil {
			return err
		}
		if slices.ContainsFunc(l.levels, func(v level) bool {
			return v.macs <= middle.macs && v.seconds <= middle.seconds && v.err < farBehind*middle.err
		}) {
			return nil
		}
	}
	for i := range levels {
		v := &levels[i]
		if err := l.measure(v); err != nil {
			return err
		}
		l.levels = append(l.levels, *v)
	}
	return nil
}

// ranks are those to look at: the one asked for, or multiples of the step up to the largest that saves operations.
func (l *layer) ranks(k kind, o Options) ([]rank, error) {
	top := l.limit(k)
	if n := o.Rank.N; n > 0 {
		if k == tucker {
			if n > max(top.r, top.p) {
				return nil, fmt.Errorf("rank %d is above the largest, %d", n, max(top.r, top.p))
			}
			return []rank{{min(n, top.r), min(n, top.p)}}, nil
		}
		if n > top.r {
			return nil, fmt.Errorf("rank %d is above the largest, %d", n, top.r)
		}
		return []rank{{n, 0}}, nil
	}
	if o.Rank.VBMF {
		return l.vbmf(k, o.RoundTo)
	}
	saves := func(r rank) bool { return float64(l.level(k, r).macs) <= cheaper*float64(l.asIs().macs) }
	var r []rank
	if k == tucker {
		for i := 2; i <= 9; i++ {
			q := rank{roundTo(top.r*i/10, o.RoundTo, top.r), roundTo(top.p*i/10, o.RoundTo, top.p)}
			if saves(q) && (len(r) == 0 || r[len(r)-1] != q) {
				r = append(r, q)
			}
		}
		return r, nil
	}
	step := max(o.RoundTo, 1)
	most := 0
	for n := step; n <= min(top.r, maxRank) && saves(rank{n, 0}); n += step {
		most = n
	}
	if most == 0 && top.r < step { // a small layer: its ranks are below one step
		for n := 1; n <= top.r && saves(rank{n, 0}); n++ {
			most = n
		}
		step = 1
	}
	count := most / step
	limit := maxLevels
	if k == cp {
		limit = 5 // each is an iteration of its own
	}
	for i := 1; i <= min(count, limit); i++ {
		n := (i*count + min(count, limit) - 1) / min(count, limit) * step
		r = append(r, rank{n, 0})
	}
	return r, nil
}

// roundTo is n as the nearest multiple of step, at least one of it, at most top.
func roundTo(n, step, top int) int {
	step = max(step, 1)
	return min(max((n+step/2)/step*step, step), top)
}

// vbmf is the rank by variational Bayesian matrix factorization, rounded up.
func (l *layer) vbmf(k kind, step int) ([]rank, error) {
	estimate := func(rows int) (int, error) {
		best := 0
		for _, p := range l.problems() {
			w := p.scaled(p.channelRoot())
			m := reshape(w, rows)
			s, err := linalg.SingularValues(m, p.pool)
			if err != nil {
				return 0, err
			}
			best = max(best, linalg.VBMFRank(s, m.Rows, m.Cols))
		}
		return best, nil
	}
	up := func(n, top int) int { return min((max(n, 1)+max(step, 1)-1)/max(step, 1)*max(step, 1), top) }
	top := l.limit(k)
	s := l.size
	switch k {
	case svd:
		n, err := estimate(s.columns())
		return []rank{{up(n, top.r), 0}}, err
	case spatialSVD:
		n, err := estimate(s.c * s.h)
		return []rank{{up(n, top.r), 0}}, err
	}
	in, err := estimate(s.c)
	if err != nil {
		return nil, err
	}
	out, err := estimate(s.columns())
	if k == tucker {
		return []rank{{up(in, top.r), up(out, top.p)}}, err
	}
	return []rank{{up(max(in, out), top.r), 0}}, err
}

// exactWork bounds the product of squared columns and outputs up to which errors are measured with the whole of H.
const exactWork = 1e9

// judge is the problems that errors are measured with: those of the data, or of the weights alone where these are large.
func (l *layer) judge() []*problem {
	if float64(l.size.columns())*float64(l.size.columns())*float64(l.size.o) > exactWork {
		return l.plain
	}
	return l.problems()
}

// measure fills in the error of a level.
func (l *layer) measure(v *level) error {
	if v.start != nil {
		return nil
	}
	fs, err := l.begin(v, true)
	if err != nil {
		return err
	}
	v.err = l.errorOf(fs, l.judge())
	return nil
}
