package measured

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/ir"
)

// equation gathers one group of a layer.
type equation struct {
	fit, held *linalg.LeastSquares
	mean      []float64 // sum of the targets of held rows
}

// chunkSamples is how many samples are run before their rows are added up.
const chunkSamples = 16

// equations runs both models up to the layer and sums its normal equations.
func (r *refit) equations(ctx context.Context, j *refitJob) ([]*equation, error) {
	l := j.linear
	wantA, wantB := []*ir.Value{j.layer.Target}, []*ir.Value{j.layer.input()}
	if j.other != nil {
		wantA, wantB = append(wantA, j.otherTarget), append(wantB, j.other)
	}
	pa, err := r.a.piece(ctx, wantA)
	if err != nil {
		return nil, err
	}
	defer pa.close()
	pb, err := r.b.piece(ctx, wantB)
	if err != nil {
		return nil, err
	}
	defer pb.close()
	eq := make([]*equation, l.Groups)
	for g := range eq {
		eq[g] = &equation{linalg.NewLeastSquares(l.In+1, l.Out, r.pool), linalg.NewLeastSquares(l.In+1, l.Out, r.pool), make([]float64, l.Out)}
	}
	n := len(r.b.values)
	per := r.rowsPerSample(l, n)
	every := max(int(1/r.o.Held+0.5), 2)
	var skip error // the walk goes on all the same: later layers need what comes behind
	for lo := 0; lo < n; lo += chunkSamples {
		hi := min(lo+chunkSamples, n)
		parts := make([]*sampleRows, hi-lo)
		errs := make([]error, hi-lo)
		r.pool.For(hi-lo, 1, func(_, a, b int) {
			for k := a; k < b; k++ {
				parts[k], errs[k] = r.sample(ctx, j, pa, pb, lo+k, per)
			}
		})
		for k, err := range errs {
			var s errSkip
			if errors.As(err, &s) {
				skip = err
			} else if err != nil {
				return nil, &SampleError{r.c.name, lo + k, err}
			}
		}
		if skip != nil {
			continue
		}
		isHeld := func(k int) bool { return n >= every && (lo+k)%every == every-1 }
		for g := range eq {
			add(eq[g].fit, parts, g, l, func(k int) bool { return !isHeld(k) })
			add(eq[g].held, parts, g, l, isHeld)
		}
		for k, p := range parts {
			if isHeld(k) {
				for i := range p.count {
					for g := range eq {
						for q, v := range p.t[(i*l.Groups+g)*l.Out:][:l.Out] {
							eq[g].mean[q] += v
						}
					}
				}
			}
		}
	}
	return eq, skip
}

// rowsPerSample spreads the positions over the samples.
func (r *refit) rowsPerSample(l *Linear, samples int) int {
	rows := r.o.Rows
	if rows == 0 {
		rows = min(max(8000, 6*l.In), 32768)
	}
	return max((rows+samples-1)/samples, 1)
}

// sampleRows are the rows of one sample: x is [Groups][count][In+1], t is [count][Groups*Out].
type sampleRows struct {
	count int
	x, t  []float64
}

// sample runs a sample through both pieces and reads some positions.
func (r *refit) sample(ctx context.Context, j *refitJob, pa, pb *piece, sample, most int) (*sampleRows, error) {
	va, err := pa.run(ctx, sample)
	if err != nil {
		return nil, err
	}
	vb, err := pb.run(ctx, sample)
	if err != nil {
		return nil, err
	}
	a, b := tensors(va), tensors(vb)
	if a[0] == nil || b[0] == nil {
		return nil, errSkip{errors.New("it was not computed on all samples")}
	}
	l := j.linear
	rows, err := l.rowsOf(b[0], a[0].Shape())
	if err != nil {
		return nil, errSkip{err}
	}
	t, err := l.targetsOf(a[0], b[0].Shape())
	if err != nil {
		return nil, errSkip{err}
	}
	if err := fits(j, rows, t); err != nil {
		return nil, errSkip{err}
	}
	var plus, minus *targets
	if j.other != nil && a[1] != nil && b[1] != nil {
		plus, _ = l.targetsOf(a[1], b[0].Shape())
		minus, _ = l.targetsOf(b[1], b[0].Shape())
		if plus == nil || minus == nil || len(plus.y) != len(t.y) || minus.m != l.Channels() || len(minus.y)*t.m != len(t.y)*minus.m {
			plus, minus = nil, nil // the Add broadcasts
		}
	}
	places := pick(rows.count, most, r.o.Seed, sample)
	s := &sampleRows{count: len(places), x: make([]float64, l.Groups*len(places)*(l.In+1)), t: make([]float64, len(places)*l.Groups*l.Out)}
	bias := 0.0
	if j.bias {
		bias = 1
	}
	for i, p := range places {
		for g := range l.Groups {
			dst := s.x[(g*len(places)+i)*(l.In+1):][:l.In+1]
			rows.fill(p, g, dst[:l.In])
			dst[l.In] = bias
		}
		out := s.t[i*l.Groups*l.Out:][:l.Groups*l.Out]
		t.add(p, j.layer.Keep, 1, out)
		if plus != nil {
			plus.add(p, j.layer.Keep, 1, out)
			minus.add(p, nil, -1, out)
		}
	}
	if !linalg.Finite(s.x) || !linalg.Finite(s.t) {
		return nil, errSkip{errors.New("values on the data are NaN or infinite")}
	}
	return s, nil
}

// fits checks that rows of the input stand beside rows of the target.
func fits(j *refitJob, rows *rows, t *targets) error {
	l := j.linear
	m := l.Channels()
	if k := j.layer.Keep; k != nil {
		if slices.Max(k) >= t.m || slices.Min(k) < 0 {
			return fmt.Errorf("its target has %d channels", t.m)
		}
	} else if t.m != m {
		return fmt.Errorf("its target has %d channels and not %d", t.m, m)
	}
	have := rows.count
	if l.kind == convTranspose {
		have *= l.perChannel()
	}
	if len(t.y) != have*t.m {
		return fmt.Errorf("its target has another shape")
	}
	return nil
}

// pick chooses positions of a sample: all, or one at random from each of equal parts.
func pick(count, most int, seed uint64, sample int) []int {
	r := make([]int, 0, min(count, most))
	if count <= most {
		for i := range count {
			r = append(r, i)
		}
		return r
	}
	rng := rand.New(rand.NewPCG(seed, uint64(sample)))
	for i := range most {
		lo, hi := i*count/most, (i+1)*count/most
		r = append(r, lo+rng.IntN(hi-lo))
	}
	return r
}

// add gathers group g of the samples that use says yes to into one block of rows, and adds that.
func add(s *linalg.LeastSquares, parts []*sampleRows, g int, l *Linear, use func(int) bool) {
	var x, t []float64
	rows := 0
	for k, p := range parts {
		if !use(k) {
			continue
		}
		rows += p.count
		if s.G.Cols == 0 { // moments alone
			x = append(x, p.x[g*p.count*(l.In+1):][:p.count*(l.In+1)]...)
			continue
		}
		x = append(x, p.x[g*p.count*(l.In+1):][:p.count*(l.In+1)]...)
		for i := range p.count {
			t = append(t, p.t[(i*l.Groups+g)*l.Out:][:l.Out]...)
		}
	}
	if rows > 0 {
		s.Add(linalg.Of(rows, l.In+1, x).View(), linalg.Of(rows, s.G.Cols, t).View())
	}
}
