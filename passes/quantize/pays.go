package quantize

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// smallModel is the number of multiply-accumulates below which integers do not pay in ONNX Runtime: what is saved in products is less than
// what quantizing the inputs and the change of layout take. (Measured: 0.8 M, 0.7 times as fast; 12.5 M, 1.7 times.)
const smallModel = 1_000_000

// tooSmall says why the cost model of the profile expects nothing of integers; empty where it does, or does not know.
func (p *plan) tooSmall() string {
	if p.o.Objective == "size" || p.o.Measure {
		return ""
	}
	macs, sizes := int64(0), singles(p.m)
	for _, u := range p.units {
		if u.kind != weighted {
			continue
		}
		n, _, err := cost.Node(u.node, cost.Options{Types: p.facts.Type, Sizes: sizes})
		if err != nil {
			return "" // a size that is not known may be large
		}
		macs += n
	}
	if macs >= smallModel {
		return ""
	}
	return fmt.Sprintf("int8 does not pay: %d thousand multiply-accumulates take less time in float than tensors take to be quantized; objective=size quantizes the model for its size, measure=true measures", macs/1000)
}

// singles are the symbols of open first dimensions, which stand for batches, as one.
func singles(m *ir.Model) map[string]int64 {
	r := map[string]int64{}
	for _, s := range m.Main.Inputs() {
		if t := s.Type(); t.IsTensor() && len(t.Shape) > 1 && t.Shape[0].Param != "" {
			r[t.Shape[0].Param] = 1
		}
	}
	return r
}

// faster measures the quantized model beside the float model, one thread, and leaves in float what integers make slower: single
// operators, or the whole model, which slow says. With objective=size it only says what it measured.
func (p *plan) faster(data *measured.Calibration) (best *plan, note string, slow bool, err error) {
	if !p.o.Measure {
		return p, "\n  speed: not measured (measure=true measures it, in ONNX Runtime where its library is found)", false, nil
	}
	clock, ctx := data.Clock(), p.c.Context()
	q := p
	if p.o.Objective != "size" {
		if q, err = p.withoutSlow(data, clock); err != nil {
			return nil, "", false, err
		}
	}
	m, err := p.copied()
	if err != nil {
		return nil, "", false, err
	}
	models := []*ir.Model{p.m, m}
	if q != p {
		if m, err = q.copied(); err != nil {
			return nil, "", false, err
		}
		models = append(models, m)
	}
	in, err := first(ctx, data)
	if err != nil {
		return nil, "", false, err
	}
	t, err := race(ctx, clock, 2*time.Second, models, in)
	if err != nil {
		return nil, "", false, err
	}
	float, integer := t[0], t[1]
	best = p
	if q != p {
		if t[2] < integer { // what is faster for each operator need not be so for all: there are quantizers between them
			best, integer = q, t[2]
		} else {
			note = fmt.Sprintf("\n  speed: with those operators in float that are faster so, one by one, the model takes %.3g ms, and %.3g ms without", t[2]*1e3, t[1]*1e3)
		}
	}
	if float < integer && p.o.Objective != "size" {
		return p, fmt.Sprintf("int8 does not pay: %.3g ms where float takes %.3g ms in engine %s; objective=size quantizes the model for its size", integer*1e3, float*1e3, clock.Name()), true, nil
	}
	return best, fmt.Sprintf("%s\n  speed: %.2f times that of float, measured in engine %s on one thread", note, float/integer, clock.Name()), false, nil
}

// first is a sample.
func first(ctx context.Context, data *measured.Calibration) (map[string]ir.Datum, error) {
	for s, err := range data.Limit(1).Each(ctx) {
		return s, err
	}
	return nil, fmt.Errorf("%s: there are no samples", data.Name())
}

// race times models in turns on one thread, and returns the least time of each in seconds. in are the inputs of each; the last ones are
// those of all models that follow.
func race(ctx context.Context, e engine.Engine, atMost time.Duration, models []*ir.Model, in ...map[string]ir.Datum) ([]float64, error) {
	best := make([]float64, len(models))
	sessions := make([]engine.Session, len(models))
	for i, m := range models {
		s, err := e.Load(ctx, m, engine.Options{Threads: 1})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		best[i], sessions[i] = math.Inf(1), s
	}
	begun := time.Now()
	for round := 0; round < 200 && (round < 5 || time.Since(begun) < atMost); round++ {
		for i, s := range sessions {
			t := time.Now()
			if _, err := s.Run(ctx, in[min(i, len(in)-1)]); err != nil {
				return nil, err
			}
			best[i] = math.Min(best[i], time.Since(t).Seconds())
		}
	}
	return best, nil
}
