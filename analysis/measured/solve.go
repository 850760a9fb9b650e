package measured

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
)

// lambdas are the ridges tried, the weakest first.
func (j *refitJob) lambdas(o RefitOptions, classes bool) []float64 {
	switch {
	case j.layer.Chain != nil:
		return j.layer.Chain.Lambdas
	case o.Lambdas != nil:
		return o.Lambdas
	case classes:
		return []float64{1e-3, 1e-2, 1e-1}
	case j.linear.In > 1500: // each takes a factorization of this size
		return []float64{1e-3, 1e-1}
	case j.layer.Choose != nil:
		return []float64{1e-4, 1e-2, 1e-1}
	}
	return []float64{1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1}
}

// solve chooses the ridge, solves and makes the change of the layer whose result has the place at.
func (r *refit) solve(j *refitJob, at int, eq *equations, res RefitResult) (RefitResult, error) {
	l := j.linear
	if fit := eq.fit[0].Rows; fit < int64(l.In+1)+int64(l.In+1)/4 {
		res.Refused = fmt.Sprintf("%d rows of data are too few for %d unknowns", fit, l.In+1)
		return res, nil
	}
	prior, err := l.Weights()
	if err != nil {
		res.Refused = err.Error()
		return res, nil
	}
	s := &solver{j: j, prior: prior}
	var begin func() error
	if j.layer.Choose != nil {
		s.masks, s.start = j.layer.Choose(eq.fit, prior)
		begin = func() error { return l.SetWeights(prior) }
	}
	best, err := r.fit(s, eq, &res)
	if err != nil {
		res.Refused = err.Error()
		return res, nil
	}
	if best.change == nil {
		res.Refused = "it gains nothing on the data kept back"
		if begin != nil {
			r.apply(j, &res, begin)
		}
		return res, nil
	}
	r.apply(j, &res, func() error {
		if begin != nil {
			if err := begin(); err != nil {
				return err
			}
		}
		before := remember(j.nodes())
		if err := best.change(); err != nil {
			return err
		}
		judged := remember(j.nodes())
		if err := r.all(s, eq, best); err != nil {
			return err
		}
		if r.guard != nil {
			r.guard.done = append(r.guard.done, changed{job: j, result: at, before: before, judged: judged, after: remember(j.nodes()), share: 1})
		}
		return nil
	})
	return res, nil
}

// solution is the weights of a layer, and what sets them. change is nil for the weights there are.
type solution struct {
	w      []linalg.Matrix[float64]
	change func() error
	lambda float64
	loss   float64 // on the rows kept back
	// aimed is the weights that the targets were set by; nil: they are what the original gave.
	aimed []linalg.Matrix[float64]
}

// fit solves a layer with each ridge, and takes the solution that loses least on the rows kept back: behind a rectifier or Softmax, if there is one.
func (r *refit) fit(s *solver, eq *equations, res *RefitResult) (best solution, err error) {
	if s.now = s.prior; s.j.layer.Chain != nil {
		if s.now, err = s.j.layer.Chain.Now(); err != nil {
			return best, err
		}
	}
	scale := 1 / max(eq.variance(), 1e-300)
	res.Before = eq.errorOf(s.now) * scale
	res.After = res.Before
	best.loss = eq.judged(s.now, r.pool)
	classes := eq.sheets != nil && eq.sheets[0].classes
	for _, lambda := range s.j.lambdas(r.o, classes) {
		var x solution
		if classes { // the least squares of scores say little of classes
			x, err = r.rectify(s, eq, solution{w: s.now, lambda: lambda, loss: eq.judged(s.now, r.pool)})
		} else if x.w, x.change, err = s.solve(eq.fit, lambda); err == nil {
			x.lambda, x.loss = lambda, eq.judged(x.w, r.pool)
		}
		if err != nil {
			return best, err
		}
		if x.change != nil && x.loss < best.loss*0.999 {
			best = x
			res.After, res.Lambda = eq.errorOf(x.w)*scale, lambda
		}
	}
	if best.change == nil || eq.sheets == nil || classes {
		return best, nil
	}
	return r.rectify(s, eq, best)
}

// all solves once more on all rows, those kept back with the others, with the ridge that was chosen and the targets that the solution was found
// for: what is held back is needed to choose, and no longer once that is done (Hastie, Tibshirani, Friedman, "The Elements of Statistical
// Learning", 2009, 7.10). Equations that cannot be solved leave the solution as it is. Those of eq are used up.
func (r *refit) all(s *solver, eq *equations, best solution) error {
	if eq.held[0].Rows == 0 {
		return nil
	}
	for g, e := range eq.fit {
		e.Join(eq.held[g])
		if best.aimed == nil {
			continue
		}
		e.G, _ = eq.sheets[g].aim(best.aimed[g], r.pool)
		held, _ := eq.judges[g].aim(best.aimed[g], r.pool)
		for i, v := range held.Data {
			e.G.Data[i] += v
		}
	}
	s.start, s.factor = best.w, nil
	if _, change, err := s.solve(eq.fit, best.lambda); err == nil {
		return change()
	}
	return nil
}

// apply makes a change.
func (r *refit) apply(j *refitJob, res *RefitResult, change func() error) {
	apply := r.o.Apply
	if apply == nil {
		apply = func(_ RefitLayer, edit func()) { edit() }
	}
	apply(j.layer, func() {
		if err := change(); err != nil {
			res.Refused = err.Error()
		}
	})
}

// rectify improves a solution for what comes behind a rectifier or a Softmax, in rounds, as long as rows kept back gain by it.
func (r *refit) rectify(s *solver, eq *equations, best solution) (solution, error) {
	rounds := reluRounds
	if r.o.Rounds > 0 {
		rounds = r.o.Rounds
	}
	switch {
	case eq.sheets[0].classes:
		rounds = classRounds
	case s.j.layer.Chain != nil:
		rounds = min(rounds, chainRounds)
	}
	now := best
	for idle := 0; rounds > 0 && idle < patience; rounds-- {
		aimed := make([]*linalg.LeastSquares, len(eq.fit))
		for g, h := range eq.sheets {
			e := *eq.fit[g]
			e.G, _ = h.aim(now.w[g], r.pool)
			aimed[g] = &e
		}
		s.start, now.aimed = now.w, now.w
		var err error
		if now.w, now.change, err = s.solve(aimed, best.lambda); err != nil {
			return best, err
		}
		idle++
		now.loss = eq.judged(now.w, r.pool)
		if now.loss < best.loss {
			if now.loss < best.loss*worthwhile {
				idle = 0
			}
			best = now
		}
	}
	return best, nil
}

// Rounds end when so many in a row gain too little.
const (
	patience   = 3
	worthwhile = 0.999
)

// solver solves a layer for one right-hand side after another.
type solver struct {
	j      *refitJob
	prior  []linalg.Matrix[float64] // what the ridge draws to
	now    []linalg.Matrix[float64] // what the layer is
	masks  [][]bool
	start  []linalg.Matrix[float64] // what iterations begin with
	factor []*linalg.Factored       // of the normal matrices of factored, with the ridge lambda
	of     []*float64
	lambda float64
}

// solve gives the weights of all groups, and what sets them.
func (s *solver) solve(eq []*linalg.LeastSquares, lambda float64) ([]linalg.Matrix[float64], func() error, error) {
	if s.j.layer.Chain != nil {
		return s.j.layer.Chain.Solve(eq, s.prior, lambda)
	}
	w := make([]linalg.Matrix[float64], len(eq))
	if s.factor == nil {
		s.factor, s.of = make([]*linalg.Factored, len(eq)), make([]*float64, len(eq))
	}
	if lambda != s.lambda {
		clear(s.factor)
		s.lambda = lambda
	}
	for g, e := range eq {
		ridge := linalg.Ridge{Lambda: lambda, Prior: s.prior[g], Free: 1}
		var err error
		if s.masks != nil {
			w[g], err = e.SolveMasked(ridge, s.masks[g], s.begin(g))
		} else {
			w[g], err = s.whole(e, ridge, g)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return w, func() error { return s.j.linear.SetWeights(w) }, nil
}

func (s *solver) begin(g int) linalg.Matrix[float64] {
	if s.start == nil {
		return linalg.Matrix[float64]{}
	}
	return s.start[g]
}

// whole solves a group without a mask; the factorization is kept for further right-hand sides.
func (s *solver) whole(e *linalg.LeastSquares, ridge linalg.Ridge, g int) (linalg.Matrix[float64], error) {
	if s.factor[g] == nil || s.of[g] != &e.H.Data[0] {
		f, err := e.Factor(ridge)
		if err != nil {
			return linalg.Matrix[float64]{}, err
		}
		s.factor[g], s.of[g] = f, &e.H.Data[0]
	}
	return s.factor[g].Solve(e.G, ridge.Prior)
}

// judge is the equations that errors are measured with: those kept back, or all there are where the set is too small to divide.
func (e *equations) judge(g int) *linalg.LeastSquares {
	if e.held[g].Rows == 0 {
		return e.fit[g]
	}
	return e.held[g]
}

// judged is the loss behind a rectifier or Softmax on the rows that errors are measured with; where there is none the sum of squared errors.
func (e *equations) judged(w []linalg.Matrix[float64], pool *par.Pool) (sum float64) {
	if e.sheets == nil {
		return e.errorOf(w)
	}
	judges := e.judges
	if e.held[0].Rows == 0 {
		judges = e.sheets
	}
	for g, h := range judges {
		sum += h.loss(w[g], pool)
	}
	return sum
}

func (e *equations) errorOf(w []linalg.Matrix[float64]) float64 {
	sum := 0.0
	for g := range w {
		sum += e.judge(g).Error(w[g])
	}
	return sum
}

// variance is the sum of squares of the targets about their means.
func (e *equations) variance() float64 {
	sum := 0.0
	for g := range e.fit {
		q := e.judge(g)
		for _, v := range q.Squares {
			sum += v
		}
		if q == e.held[g] {
			for _, m := range e.mean[g] {
				sum -= m * m / float64(q.Rows)
			}
		}
	}
	return sum
}
