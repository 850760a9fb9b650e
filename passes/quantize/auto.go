package quantize

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// Samples, and patches of each, on which calibrate=auto compares methods.
const (
	comparedOn      = 16
	comparedPatches = 48
	// clearly is how much less another range has to err than that of the values themselves, which all of the data say and not some patches.
	clearly = 0.5
)

// chooseAuto gives every tensor the range, of those that the methods find, with which the layers that read it err least: the squared error
// of their outputs over patches of the data. Tensors that no such layer reads get the range with the least error of their own values.
func (p *plan) chooseAuto(data *measured.Calibration, hists []*hist.Histogram) error {
	if err := p.choose(hists, "mse"); err != nil {
		return err
	}
	candidates := map[*group][]qparams{}
	for i, g := range p.groups {
		if p.givenParams(g) != nil || p.activationOf(g) != nil {
			continue
		}
		var c []qparams
		for _, method := range []string{"mse", "percentile", "minmax"} {
			r, err := hists[i].Find(method, p.spec())
			if err != nil {
				return err
			}
			if q := p.params(hists[i], r); !slices.Contains(c, q) {
				c = append(c, q)
			}
		}
		if len(c) > 1 {
			candidates[g] = c
		}
	}
	var layers []layer
	for _, u := range p.units {
		if u.kind != weighted || candidates[p.byVal[u.node.Operand(u.acts[0])].group] == nil {
			continue
		}
		l, ok, err := layerOf(u)
		if err != nil {
			return err
		}
		if ok {
			layers = append(layers, l)
		}
	}
	costs, err := p.compare(data.Limit(comparedOn), layers, candidates)
	if err != nil || len(costs) == 0 {
		return err
	}
	ref, err := data.Limit(comparedOn).Reference(p.c.Context(), p.m)
	if err != nil {
		return err
	}
	before, err := p.divergence(ref)
	if err != nil {
		return err
	}
	values := make(map[*group]qparams, len(costs))
	for g, c := range costs {
		best := 0
		for i := range c {
			if c[i] < c[best]*clearly {
				best = i
			}
		}
		values[g] = g.q
		g.q = candidates[g][best]
	}
	p.remember()
	after, err := p.divergence(ref)
	if err != nil || after.SQNR >= before.SQNR {
		return err
	}
	for g, q := range values { // what is better for each layer is not better for the whole
		g.q = q
	}
	p.remember()
	return nil
}

// compare sums the squared errors of the layers' outputs for each candidate of the group that they read.
func (p *plan) compare(data *measured.Calibration, layers []layer, candidates map[*group][]qparams) (map[*group][]float64, error) {
	costs := map[*group][]float64{}
	if len(layers) == 0 {
		return costs, nil
	}
	taps := make([]*ir.Value, len(layers))
	groups := make([]*group, len(layers))
	for i, l := range layers {
		taps[i] = l.u.node.Operand(l.u.acts[0])
		groups[i] = p.byVal[taps[i]].group
		costs[groups[i]] = make([]float64, len(candidates[groups[i]]))
	}
	err := measured.TapsWith(p.c.Context(), data, p.m, taps, func(sample int, t []*ir.Tensor) ([][]float64, error) {
		r := make([][]float64, len(layers))
		for i, l := range layers {
			v, err := measured.Floats(t[i])
			if err != nil {
				return nil, err
			}
			r[i] = make([]float64, len(candidates[groups[i]]))
			if len(v) == 0 {
				continue
			}
			x := make([]float32, comparedPatches*l.groups*l.k)
			n := l.patchesOf(v, t[i].Shape(), comparedPatches, uint64(sample), x)
			for k, q := range candidates[groups[i]] {
				r[i][k] = l.outputError(x[:n*l.groups*l.k], n, q)
			}
		}
		return r, nil
	}, func(_ int, r [][]float64) error {
		for i := range layers {
			for k, e := range r[i] {
				costs[groups[i]][k] += e
			}
		}
		return nil
	})
	return costs, err
}

// outputError is the mean squared error of the layer's outputs on n patches that q rounds, relative to the outputs' mean square, so that
// the layers that read a tensor count alike.
func (l layer) outputError(x []float32, n int, q qparams) float64 {
	e := make([]float32, len(x))
	rounded := q.rounder()
	for i, v := range x {
		e[i] = rounded(v) - v
	}
	y, z := l.outputs(x, n), l.outputs(e, n)
	signal, noise := 0.0, 0.0
	for i := range y {
		signal += float64(y[i]) * float64(y[i])
		noise += float64(z[i]) * float64(z[i])
	}
	if noise == 0 {
		return 0
	}
	return noise / math.Max(signal, 1e-30)
}

// outputs are the products of n patches with all rows: [n, rows].
func (l layer) outputs(x []float32, n int) []float32 {
	wide, per := l.groups*l.k, l.rows/l.groups
	y := make([]float32, n*l.rows)
	for g := range l.groups {
		w := gemm.RowMajor(l.w[g*per*l.k:(g+1)*per*l.k], per, l.k)
		in := gemm.View[float32]{Data: x[g*l.k:], Rows: n, Cols: l.k, RowStride: wide, ColStride: 1}
		out := gemm.View[float32]{Data: y[g*per:], Rows: n, Cols: per, RowStride: l.rows, ColStride: 1}
		gemm.Gemm(out, in, w.T(), gemm.Options[float32]{Pool: par.New(1)})
	}
	return y
}
