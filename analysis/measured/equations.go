package measured

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// chunkSamples is how many samples are run before their rows are added up, chunkBytes what these rows may take, and blockRows how many rows are
// added at once.
const (
	chunkSamples = 16
	chunkBytes   = 256 << 20
	blockRows    = 1024
)

// equations are the normal equations of a layer by group: of samples to fit, and of those held back.
type equations struct {
	fit, held []*linalg.LeastSquares
	mean      [][]float64 // sums of the targets of held rows
	// sheets are the rows to fit themselves, and judges those held back, where they are needed again.
	sheets, judges []*sheet
}

// equations runs both models up to the layer and sums its normal equations.
func (r *refit) equations(ctx context.Context, j *refitJob) (*equations, error) {
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
	n := len(r.b.values)
	per := r.rowsPerSample(l, n)
	fit, held := newGatherer(l, l.Out, r.pool), newGatherer(l, l.Out, r.pool)
	eq := &equations{}
	back := 0
	for _, is := range r.held {
		if is {
			back++
		}
	}
	eq.sheets, eq.judges = j.sheets((n-back)*per, back*per, &r.room)
	var skip error // the walk goes on all the same: later layers need what comes behind
	parts := make([]sampleRows, min(chunkSamples, n))
	for lo := 0; lo < n; lo += chunkSamples {
		hi := min(lo+chunkSamples, n)
		errs := make([]error, hi-lo)
		r.pool.For(hi-lo, 1, func(_, a, b int) {
			for k := a; k < b; k++ {
				errs[k] = r.sample(ctx, j, pa, pb, lo+k, per, &parts[k])
			}
		})
		for k, err := range errs {
			var s errSkip
			if errors.As(err, &s) {
				skip = err
			} else if err != nil {
				return nil, &SampleError{r.c.name, r.place(lo + k), err}
			}
		}
		if skip != nil {
			continue
		}
		for k := range hi - lo {
			p := &parts[k]
			to, sheets := fit, eq.sheets
			if r.held[lo+k] {
				to, sheets = held, eq.judges
			}
			to.add(p)
			for g, h := range sheets {
				h.add(p, l, g)
			}
		}
	}
	if skip != nil {
		return nil, skip
	}
	fit.flush()
	held.flush()
	eq.fit, eq.held, eq.mean = fit.eq, held.eq, held.sums
	return eq, nil
}

// rowsPerSample spreads the positions over the samples.
func (r *refit) rowsPerSample(l *Linear, samples int) int {
	rows := r.o.Rows
	if rows == 0 {
		rows = min(max(24000, 12*l.In), 32768)
	}
	most := chunkBytes / (4 * chunkSamples * l.Groups * (l.In + 1 + 4*l.Out))
	return max(min((rows+samples-1)/samples, most), 1)
}

// sampleRows are the rows of one sample: x is [Groups][count][In+1]; t, what the original gave, and o, what another branch adds to the layer's
// result, are [count][Groups*Out]. There may be no o.
type sampleRows struct {
	count int
	x     []float32
	t, o  []float64
}

// sample runs a sample through both pieces and reads some positions into s, whose slices are used again.
func (r *refit) sample(ctx context.Context, j *refitJob, pa, pb *piece, sample, most int, s *sampleRows) error {
	va, err := pa.run(ctx, sample)
	if err != nil {
		return err
	}
	vb, err := pb.run(ctx, sample)
	if err != nil {
		return err
	}
	a, b := tensors(va), tensors(vb)
	if a[0] == nil || b[0] == nil {
		return errSkip{errors.New("it was not computed on all samples")}
	}
	l := j.linear
	rows, err := l.rowsOf(b[0], a[0].Shape())
	if err != nil {
		return errSkip{err}
	}
	t, err := l.targetsOf(a[0], b[0].Shape())
	if err != nil {
		return errSkip{err}
	}
	if err := fits(j, rows, t); err != nil {
		return errSkip{err}
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
	s.count, s.x, s.t, s.o = len(places), sized(s.x, l.Groups*len(places)*(l.In+1)), sized(s.t, len(places)*l.Groups*l.Out), s.o[:0]
	clear(s.t)
	if plus != nil {
		s.o = sized(s.o, len(s.t))
		clear(s.o)
	}
	bias := float32(0)
	if j.bias {
		bias = 1
	}
	for i, p := range places {
		for g := range l.Groups {
			dst := s.x[(g*len(places)+i)*(l.In+1):][:l.In+1]
			rows.fill(p, g, dst[:l.In])
			dst[l.In] = bias
		}
	}
	t.add(places, j.layer.Keep, s.t)
	if plus != nil {
		plus.add(places, j.layer.Keep, s.t)
		minus.add(places, nil, s.o)
	}
	if !linalg.Finite(s.x) || !linalg.Finite(s.t) || !linalg.Finite(s.o) {
		return errSkip{errors.New("values on the data are NaN or infinite")}
	}
	return nil
}

// sized is s with n elements, whatever they are.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
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

// gatherer sums rows by group, blocks of them at once.
type gatherer struct {
	l    *Linear
	eq   []*linalg.LeastSquares
	sums [][]float64 // of the targets
	x, t [][]float64
	pool *par.Pool
}

// newGatherer begins the equations of a layer with so many right-hand sides.
func newGatherer(l *Linear, outputs int, pool *par.Pool) *gatherer {
	g := &gatherer{l: l, x: make([][]float64, l.Groups), t: make([][]float64, l.Groups), pool: pool}
	inner := pool
	if l.Groups > 1 { // groups go side by side
		inner = nil
	}
	for range l.Groups {
		g.eq, g.sums = append(g.eq, linalg.NewLeastSquares(l.In+1, outputs, inner)), append(g.sums, make([]float64, outputs))
	}
	return g
}

// each calls f for every group, side by side.
func (g *gatherer) each(f func(k int)) {
	if g.l.Groups == 1 {
		f(0)
		return
	}
	g.pool.For(g.l.Groups, 1, func(_, lo, hi int) {
		for k := lo; k < hi; k++ {
			f(k)
		}
	})
}

func (g *gatherer) add(p *sampleRows) {
	n, m := g.l.In+1, g.eq[0].G.Cols
	g.each(func(k int) {
		if rows := len(g.x[k]) / n; rows > 0 && rows+p.count > blockRows {
			g.flushGroup(k)
		}
		if room := max(p.count, blockRows); cap(g.x[k]) < room*n {
			g.x[k], g.t[k] = make([]float64, 0, room*n), make([]float64, 0, room*m)
		}
		g.x[k] = widen(g.x[k], p.x[k*p.count*n:][:p.count*n])
		for i := 0; m > 0 && i < p.count; i++ {
			at := (i*g.l.Groups + k) * m
			for q, v := range p.t[at:][:m] {
				if len(p.o) > 0 {
					v -= p.o[at+q]
				}
				g.t[k] = append(g.t[k], v)
				g.sums[k][q] += v
			}
		}
	})
}

func (g *gatherer) flush() { g.each(g.flushGroup) }

func (g *gatherer) flushGroup(k int) {
	n := g.l.In + 1
	if rows := len(g.x[k]) / n; rows > 0 {
		g.eq[k].Add(linalg.Of(rows, n, g.x[k]).View(), linalg.Of(rows, g.eq[k].G.Cols, g.t[k]).View())
	}
	g.x[k], g.t[k] = g.x[k][:0], g.t[k][:0]
}

// widen appends x to to.
func widen(to []float64, x []float32) []float64 {
	at := len(to)
	to = slices.Grow(to, len(x))[:at+len(x)]
	for i, v := range x {
		to[at+i] = float64(v)
	}
	return to
}
