package prune

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// maxSurgeon is the largest problem, in columns, that is inverted to choose what goes.
const maxSurgeon = 2400

// surgeon is the optimal brain surgeon (Hassibi and Stork 1993) for blocks of columns: one group of one layer that reads a family.
type surgeon struct {
	w       linalg.Matrix[float64] // n by m
	inv     linalg.Matrix[float64] // of the normal equations, damped
	total   float64                // the variance of the output
	columns [][]int                // by unit
	// strength is what each unit gives to the output, over the output's variance: the squares of its weights times those of what they read
	// (Sun, Liu, Bair and Kolter, "A simple and effective pruning approach for large language models", ICLR 2024).
	strength []float64
	pool     *par.Pool
}

// damp is what is added to the diagonal of normal equations before they are inverted, in units of its mean.
const damp = 1e-3

// newSurgeon makes one of the second moments of what a group reads, over so many rows.
func newSurgeon(moments linalg.Matrix[float64], rows int64, w linalg.Matrix[float64], columns [][]int, pool *par.Pool) (*surgeon, error) {
	h := moments.Clone()
	n := h.Rows
	scale := 1 / float64(rows)
	mean := 0.0
	for i := range h.Data {
		h.Data[i] *= scale
	}
	for i := range n - 1 {
		mean += h.Data[i*n+i] / float64(max(1, n-1))
	}
	s := &surgeon{w: w.Clone(), columns: columns, pool: pool}
	hw := linalg.Mul(h.View(), w.View(), pool)
	for o := range w.Cols {
		e, sum := 0.0, 0.0
		for i := range n {
			e += w.Data[i*w.Cols+o] * hw.Data[i*w.Cols+o]
			sum += w.Data[i*w.Cols+o] * h.Data[i*n+n-1]
		}
		s.total += e - sum*sum // the last column is all ones: its products are means
	}
	s.total = max(s.total, 1e-12*(1+mean))
	for _, cols := range columns {
		e := 0.0
		for _, c := range cols {
			for _, x := range w.Row(c) {
				e += x * x * h.Data[c*n+c]
			}
		}
		s.strength = append(s.strength, e/s.total)
	}
	for i := range n {
		h.Data[i*n+i] += damp*mean + 1e-9
	}
	c, err := linalg.NewCholesky(h, pool)
	if err != nil {
		return nil, err
	}
	s.inv = c.Inverse()
	return s, nil
}

// block is the inverse of the block of columns of inv, and those columns' weights.
func (s *surgeon) block(cols []int) (linalg.Matrix[float64], error) {
	k, n := len(cols), s.inv.Rows
	b := linalg.New[float64](k, k)
	for i, p := range cols {
		for j, q := range cols {
			b.Data[i*k+j] = s.inv.Data[p*n+q]
		}
		b.Data[i*k+i] += 1e-12
	}
	c, err := linalg.NewCholesky(b, nil)
	if err != nil {
		return b, err
	}
	return c.Inverse(), nil
}

// score is the share of the output's variance that is lost if a unit goes and the other weights make up for it.
func (s *surgeon) score(u int) float64 {
	cols := s.columns[u]
	b, err := s.block(cols)
	if err != nil {
		return math.Inf(1)
	}
	e, m := 0.0, s.w.Cols
	for i, p := range cols {
		for j, q := range cols {
			d := 0.0
			x, y := s.w.Data[p*m:][:m], s.w.Data[q*m:][:m]
			for o := range x {
				d += x[o] * y[o]
			}
			e += b.Data[i*len(cols)+j] * d
		}
	}
	return max(e, 0) / s.total
}

// remove takes units out, and lets the others make up for them.
func (s *surgeon) remove(us []int) error {
	var cols []int
	for _, u := range us {
		cols = append(cols, s.columns[u]...)
	}
	slices.Sort(cols)
	k, n, m := len(cols), s.inv.Rows, s.w.Cols
	b, err := s.block(cols)
	if err != nil {
		return err
	}
	rows, w := linalg.New[float64](k, n), linalg.New[float64](k, m)
	for i, p := range cols {
		copy(rows.Row(i), s.inv.Row(p))
		copy(w.Row(i), s.w.Row(p))
	}
	bw := linalg.Mul(b.View(), w.View(), s.pool)
	br := linalg.Mul(b.View(), rows.View(), s.pool)
	subtract(s.w, linalg.Mul(rows.View().T(), bw.View(), s.pool))
	subtract(s.inv, linalg.Mul(rows.View().T(), br.View(), s.pool))
	for _, p := range cols {
		clear(s.w.Row(p))
		clear(s.inv.Row(p))
		for i := range n {
			s.inv.Data[i*n+p] = 0
		}
	}
	return nil
}

func subtract(a, b linalg.Matrix[float64]) {
	for i, v := range b.Data {
		a.Data[i] -= v
	}
}

// surgeons are those of all layers that read a family; nil: one of them is too large, or no layer.
func (j *job) surgeons(f *family, layers map[*ir.Node]*measured.Linear, moments map[*ir.Node]*measured.Moments) []*surgeon {
	var r []*surgeon
	for _, x := range f.read {
		l := layers[x.c.Node]
		m := moments[x.c.Node]
		if l == nil || m == nil || x.c.Operand != 1 {
			continue
		}
		w, err := l.Weights()
		if err != nil {
			return nil
		}
		a := j.graph.OperandAxis(x.c, x.dim)
		columns := make([][]int, len(f.Units))
		for u, unit := range f.Units {
			for _, s := range unit.Slices {
				if s.Axis == a {
					for _, e := range s.Elements {
						for k := range l.Taps() {
							columns[u] = append(columns[u], e*l.Taps()+k)
						}
					}
				}
			}
		}
		for g := range w {
			s, err := newSurgeon(m.H[g], m.Rows, w[g], columns, j.data.pool)
			if err != nil {
				return nil
			}
			r = append(r, s)
		}
	}
	return r
}

// operate orders the units of a family by what their readers lose.
func (f *family) operate(ss []*surgeon) {
	alive := make([]bool, len(f.Units))
	for i := range alive {
		alive[i] = true
	}
	at := max(1, len(f.Units)/64)
	f.order, f.cost = nil, []float64{0}
	for left := len(f.Units); left > 0; {
		score := make([]float64, len(f.Units))
		var open []int
		for u := range f.Units {
			if !alive[u] {
				continue
			}
			open = append(open, u)
			for _, s := range ss {
				score[u] += s.score(u)
			}
		}
		slices.SortStableFunc(open, func(a, b int) int {
			switch {
			case score[a] < score[b]:
				return -1
			case score[a] > score[b]:
				return 1
			}
			return 0
		})
		open = open[:min(at, len(open))]
		for _, u := range open {
			alive[u] = false
			f.order = append(f.order, u)
			f.cost = append(f.cost, f.cost[len(f.cost)-1]+score[u])
		}
		if left -= len(open); left == 0 {
			return
		}
		for _, s := range ss {
			if s.remove(open) != nil {
				return
			}
		}
	}
}
