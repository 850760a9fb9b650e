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

// slower measures the quantized model beside the float model in the engine of the run, one thread, and says so if it is slower.
func (p *plan) slower(data *measured.Calibration) (note string, slow bool, err error) {
	if !p.o.Measure {
		return "\n  speed: not measured (measure=true measures it in the engine of --engine)", false, nil
	}
	m, err := p.copied()
	if err != nil {
		return "", false, err
	}
	a, b, err := race(p.c.Context(), data, p.m, m)
	if err != nil {
		return "", false, err
	}
	name := data.Engine().Name()
	if a < b && p.o.Objective != "size" {
		return fmt.Sprintf("int8 does not pay: %.3g ms where float takes %.3g ms in engine %s; objective=size quantizes the model for its size", b*1e3, a*1e3, name), true, nil
	}
	return fmt.Sprintf("\n  speed: %.2f times that of float, measured in engine %s on one thread", a/b, name), false, nil
}

// race times two models on a sample, in turns, and returns the least time of each in seconds.
func race(ctx context.Context, data *measured.Calibration, a, b *ir.Model) (ta, tb float64, err error) {
	var in map[string]ir.Datum
	for s, err := range data.Limit(1).Each(ctx) {
		if err != nil {
			return 0, 0, err
		}
		in = s
	}
	best := [2]float64{math.Inf(1), math.Inf(1)}
	var sessions [2]engine.Session
	for i, m := range []*ir.Model{a, b} {
		s, err := data.Engine().Load(ctx, m, engine.Options{Threads: 1})
		if err != nil {
			return 0, 0, err
		}
		defer s.Close()
		sessions[i] = s
	}
	begun := time.Now()
	for round := 0; round < 200 && (round < 5 || time.Since(begun) < 2*time.Second); round++ {
		for i, s := range sessions {
			t := time.Now()
			if _, err := s.Run(ctx, in); err != nil {
				return 0, 0, err
			}
			best[i] = math.Min(best[i], time.Since(t).Seconds())
		}
	}
	return best[0], best[1], nil
}
