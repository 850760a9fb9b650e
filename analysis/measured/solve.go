package measured

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/linalg"
)

// lambdas are the ridges tried, the weakest first.
func lambdas(unknowns int) []float64 {
	if unknowns > 1500 { // each takes a factorization of this size
		return []float64{1e-3, 1e-1}
	}
	return []float64{1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1}
}

// solve chooses the ridge, solves and makes the change.
func (r *refit) solve(j *refitJob, eq []*equation, res RefitResult) (RefitResult, error) {
	l := j.linear
	if fit := eq[0].fit.Rows; fit < int64(l.In+1) {
		res.Refused = fmt.Sprintf("%d rows of data are too few for %d unknowns", fit, l.In+1)
		return res, nil
	}
	prior, err := l.Weights()
	if err != nil {
		res.Refused = err.Error()
		return res, nil
	}
	total := 0.0
	for g, e := range eq {
		res.Before += e.judge().Error(prior[g])
		total += e.variance()
	}
	scale := 1 / max(total, 1e-300)
	fit, all := make([]*linalg.LeastSquares, l.Groups), make([]*linalg.LeastSquares, l.Groups)
	for g, e := range eq {
		fit[g] = e.fit
	}
	best := math.Inf(1)
	for _, lambda := range j.lambdas() {
		w, _, err := j.solve(fit, prior, lambda)
		if err != nil {
			res.Refused = err.Error()
			return res, nil
		}
		now := 0.0
		for g, e := range eq {
			now += e.judge().Error(w[g])
		}
		if now < best*0.999 {
			best, res.Lambda = now, lambda
		}
	}
	gains := best < res.Before
	res.After = best * scale
	res.Before *= scale
	if !gains && j.layer.Chain == nil {
		res.Refused = "it gains nothing on the data kept back"
		res.After = res.Before
		return res, nil
	}
	for g, e := range eq {
		all[g] = e.fit.Plus(e.held)
	}
	_, change, err := j.solve(all, prior, res.Lambda)
	if err != nil {
		res.Refused = err.Error()
		return res, nil
	}
	apply := r.o.Apply
	if apply == nil {
		apply = func(_ RefitLayer, edit func()) { edit() }
	}
	apply(j.layer, func() {
		if err := change(); err != nil {
			res.Refused = err.Error()
		}
	})
	return res, nil
}

// judge is the equations that errors are measured with: those kept back, or all there are where the set is too small to divide.
func (e *equation) judge() *linalg.LeastSquares {
	if e.held.Rows == 0 {
		return e.fit
	}
	return e.held
}

// variance is the sum of squares of the targets about their means.
func (e *equation) variance() float64 {
	s := 0.0
	for _, v := range e.judge().Squares {
		s += v
	}
	if e.held.Rows > 0 {
		for _, m := range e.mean {
			s -= m * m / float64(e.held.Rows)
		}
	}
	return s
}

func (j *refitJob) lambdas() []float64 {
	if j.layer.Chain != nil {
		return j.layer.Chain.Lambdas
	}
	return lambdas(j.linear.In)
}

// solve fits all groups.
func (j *refitJob) solve(eq []*linalg.LeastSquares, prior []linalg.Matrix[float64], lambda float64) ([]linalg.Matrix[float64], func() error, error) {
	if j.layer.Chain != nil {
		return j.layer.Chain.Solve(eq, prior, lambda)
	}
	next := make([]linalg.Matrix[float64], len(eq))
	for g, s := range eq {
		var err error
		ridge := linalg.Ridge{Lambda: lambda, Prior: prior[g], Free: 1}
		if j.layer.Mask == nil {
			next[g], err = s.Solve(ridge)
		} else {
			next[g], err = s.SolveMasked(ridge, j.mask(g))
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return next, func() error { return j.linear.SetWeights(next) }, nil
}

// mask is the layer's mask in the order of the matrix of group g; biases are free.
func (j *refitJob) mask(g int) []bool {
	l := j.linear
	mask := make([]bool, (l.In+1)*l.Out)
	for i := range l.In {
		for k := range l.Out {
			mask[i*l.Out+k] = j.layer.Mask[l.place(g, i, k)]
		}
	}
	for k := range l.Out {
		mask[l.In*l.Out+k] = true
	}
	return mask
}
