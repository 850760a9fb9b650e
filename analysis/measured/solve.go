package measured

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/linalg"
)

// lambdas are the ridges tried, the weakest first.
func (j *refitJob) lambdas(o RefitOptions) []float64 {
	switch {
	case j.layer.Chain != nil:
		return j.layer.Chain.Lambdas
	case o.Lambdas != nil:
		return o.Lambdas
	case j.linear.In > 1500: // each takes a factorization of this size
		return []float64{1e-3, 1e-1}
	case j.layer.Choose != nil:
		return []float64{1e-4, 1e-2, 1e-1}
	}
	return []float64{1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1}
}

// solve chooses the ridge, solves and makes the change.
func (r *refit) solve(j *refitJob, eq *equations, res RefitResult) (RefitResult, error) {
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
	all := make([]*linalg.LeastSquares, l.Groups)
	for g := range all {
		all[g] = eq.fit[g].Plus(eq.held[g])
	}
	s := &solver{j: j, prior: prior}
	if j.layer.Choose != nil {
		s.masks, s.start = j.layer.Choose(all, prior)
	}
	scale := 1 / max(eq.variance(), 1e-300)
	res.Before = eq.errorOf(prior) * scale
	best := res.Before
	for _, lambda := range j.lambdas(r.o) {
		w, _, err := s.solve(eq.fit, lambda)
		if err != nil {
			res.Refused = err.Error()
			return res, nil
		}
		if now := eq.errorOf(w) * scale; now < best*0.999 || res.Lambda == 0 && j.layer.Chain != nil {
			best, res.Lambda = now, lambda
		}
	}
	if res.After = best; res.Lambda == 0 {
		res.Refused = "it gains nothing on the data kept back"
		if j.layer.Choose == nil {
			return res, nil
		}
		r.apply(j, &res, func() error { return l.SetWeights(prior) })
		return res, nil
	}
	w, change, err := s.solve(all, res.Lambda)
	if err == nil {
		change, err = r.rectify(s, eq.sheets, all, w, change, res.Lambda)
	}
	if err != nil {
		res.Refused = err.Error()
		return res, nil
	}
	r.apply(j, &res, change)
	return res, nil
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

// rectify improves w for what comes behind a rectifier or a Softmax, on the rows that it was fitted on.
func (r *refit) rectify(s *solver, sheets []*sheet, all []*linalg.LeastSquares, w []linalg.Matrix[float64], change func() error, lambda float64) (func() error, error) {
	if sheets == nil {
		return change, nil
	}
	rounds := reluRounds
	if r.o.Rounds > 0 {
		rounds = r.o.Rounds
	}
	switch {
	case sheets[0].classes:
		rounds = classRounds
	case s.j.layer.Chain != nil:
		rounds = min(rounds, chainRounds)
	}
	kept, least := change, math.Inf(1)
	for round := 0; ; round++ {
		loss := 0.0
		aimed := make([]*linalg.LeastSquares, len(all))
		for g, h := range sheets {
			e, l := *all[g], 0.0
			e.G, l = h.aim(w[g], r.pool)
			aimed[g], loss = &e, loss+l
		}
		if loss < least {
			least, kept = loss, change
		}
		if round == rounds {
			return kept, nil
		}
		s.start = w
		var err error
		if w, change, err = s.solve(aimed, lambda); err != nil {
			return nil, err
		}
	}
}

// solver solves a layer for one right-hand side after another.
type solver struct {
	j      *refitJob
	prior  []linalg.Matrix[float64]
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
