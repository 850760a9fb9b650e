package compare

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// UnsteadyError is what a source is told of a set on which the original amplifies rounding errors so much that a difference as large as
// the one found says nothing of the result.
type UnsteadyError struct {
	Output string
	Moved  float64 // by how much the output moves, in the measure of Diff.Rel, when the inputs move by a rounding error
}

func (e *UnsteadyError) Error() string {
	return fmt.Sprintf("the original is unsteady: output %q moves by %.3g when the inputs move by a rounding error", e.Output, e.Moved)
}

// unsteady reports whether an output of the original moves by at least an eighth of the difference d, and by more than t admits, when each
// float32 of the inputs is one unit in the last place away, up or down or not at all: then the difference is not larger than what rounding
// does, which happens at every node and not at the inputs alone. It is Monte Carlo arithmetic (Parker, "Monte Carlo Arithmetic", 1997) on the inputs. It is nil where it is not so, where the
// bits have to be equal, and where it could not be found out.
func (c *comparison) unsteady(ctx context.Context, s engine.Session, want map[string]ir.Datum, output string, d Diff, t Tolerance) *UnsteadyError {
	if t.Exact || d.Unlike != "" || d.Steps != 0 {
		return nil
	}
	for seed := range uint64(3) {
		got, err := s.Run(ctx, nudged(rand.New(rand.NewPCG(seed, 1)), c.v.Set.Inputs))
		if err != nil {
			return nil
		}
		if m := Datum(want[output], got[output]); m.Unlike == "" && m.Rel >= max(d.Rel/8, t.Rel) {
			return &UnsteadyError{output, m.Rel}
		}
	}
	return nil
}

// nudged are the inputs with each float32 a unit in the last place away, up or down or not at all.
func nudged(rng *rand.Rand, in map[string]ir.Datum) map[string]ir.Datum {
	r := make(map[string]ir.Datum, len(in))
	for name, d := range in {
		r[name] = d
		t, ok := d.(*ir.Tensor)
		if !ok || t.DType() != ir.Float32 {
			continue
		}
		v, err := ir.Elements[float32](t)
		if err != nil {
			continue
		}
		moved := make([]float32, len(v))
		for i, x := range v {
			moved[i] = x
			if k := rng.IntN(3) - 1; k != 0 && !math.IsInf(float64(x), 0) {
				moved[i] = math.Nextafter32(x, float32(math.Inf(k)))
			}
		}
		r[name] = ir.NewTensor(ir.Float32, t.Shape(), ir.AsBytes(moved))
	}
	return r
}
