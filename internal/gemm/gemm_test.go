package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

func TestTileLayout(t *testing.T) {
	var x tile
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"k", unsafe.Offsetof(x.k), 0}, {"a", unsafe.Offsetof(x.a), 8}, {"aRow", unsafe.Offsetof(x.aRow), 16}, {"aStep", unsafe.Offsetof(x.aStep), 24},
		{"b", unsafe.Offsetof(x.b), 32}, {"bStep", unsafe.Offsetof(x.bStep), 40}, {"offsets", unsafe.Offsetof(x.offsets), 48},
		{"c", unsafe.Offsetof(x.c), 56}, {"cRow", unsafe.Offsetof(x.cRow), 64}, {"rows", unsafe.Offsetof(x.rows), 72}, {"mask", unsafe.Offsetof(x.mask), 80},
		{"rowBias", unsafe.Offsetof(x.rowBias), 88}, {"colBias", unsafe.Offsetof(x.colBias), 96}, {"flags", unsafe.Offsetof(x.flags), 104},
		{"lo", unsafe.Offsetof(x.lo), 112}, {"hi", unsafe.Offsetof(x.hi), 120},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && f.got != f.want {
			t.Errorf("field %s is at %d, the assembly reads %d", f.name, f.got, f.want)
		}
	}
}

const canary = 12345.5

// guarded returns a slice of n elements inside a larger one, at an odd offset, and a check that nothing around it was written.
func guarded[T float32 | float64](t *testing.T, n int) ([]T, func()) {
	const margin = 67
	whole := make([]T, n+2*margin)
	for i := range whole {
		whole[i] = canary
	}
	return whole[margin:][:n:n], func() {
		t.Helper()
		for i, v := range whole {
			if (i < margin || i >= margin+n) && v != canary {
				t.Fatalf("wrote %v at %d of %d", v, i-margin, n)
			}
		}
	}
}

func fill[T float32 | float64](r *rand.Rand, x []T) []T {
	for i := range x {
		x[i] = T(r.Float64()*2 - 1)
	}
	return x
}

// near reports whether two results of sums of n products of magnitude one agree; NaN agrees with NaN.
func near[T float32 | float64](a, b T, n int) bool {
	eps := 1.2e-7
	if unsafe.Sizeof(a) == 8 {
		eps = 2.3e-16
	}
	x, y := float64(a), float64(b)
	return a == b || (math.IsNaN(x) && math.IsNaN(y)) || math.Abs(x-y) <= eps*float64(n+4)
}

type gemmCase struct {
	m, n, k                int
	transA, transB         bool
	packA, packB           bool
	accumulate             bool
	rowBias, colBias, relu bool
	pad, workers           int
	special                bool
}

func runCase[T float32 | float64](t *testing.T, r *rand.Rand, kernel *microkernel, x gemmCase) []T {
	view := func(rows, cols int, trans bool) View[T] {
		if trans {
			return View[T]{fill(r, make([]T, (cols*(rows+x.pad)))), rows, cols, 1, rows + x.pad}
		}
		return View[T]{fill(r, make([]T, (rows*(cols+x.pad)))), rows, cols, cols + x.pad, 1}
	}
	a, b := view(x.m, x.k, x.transA), view(x.k, x.n, x.transB)
	if x.special && x.k > 0 && x.m > 0 {
		a.Data[r.IntN(len(a.Data))] = T(math.NaN())
		a.Data[r.IntN(len(a.Data))] = T(math.Inf(1))
	}
	size := max(0, (x.m-1)*(x.n+x.pad)+x.n)
	cData, check := guarded[T](t, size)
	fill(r, cData)
	want := append([]T(nil), cData...)
	o := Options[T]{Accumulate: x.accumulate, Pool: par.New(x.workers)}
	if x.rowBias {
		o.RowBias = fill(r, make([]T, x.m))
	}
	if x.colBias {
		o.ColBias = fill(r, make([]T, x.n))
	}
	if x.relu {
		o.Clamp, o.Lo, o.Hi = true, 0, 1.5
	}
	for i := range x.m {
		for j := range x.n {
			var s float64
			for p := range x.k {
				s += float64(a.Data[i*a.RowStride+p*a.ColStride]) * float64(b.Data[p*b.RowStride+j*b.ColStride])
			}
			w := &want[i*(x.n+x.pad)+j]
			if x.accumulate {
				s += float64(*w)
			}
			if x.rowBias {
				s += float64(o.RowBias[i])
			}
			if x.colBias {
				s += float64(o.ColBias[j])
			}
			if x.relu && s < 0 {
				s = 0
			}
			if x.relu && s > 1.5 {
				s = 1.5
			}
			*w = T(s)
		}
	}
	c := View[T]{cData, x.m, x.n, x.n + x.pad, 1}
	oa, ob := operandA[T]{view: a}, operandB[T]{view: b}
	if x.packA {
		oa = operandA[T]{packed: packA(kernel, a)}
	}
	if x.packB {
		ob = operandB[T]{packed: packB(kernel, b)}
	}
	product(kernel, c, oa, ob, o)
	check()
	for i := range want {
		if !near(cData[i], want[i], x.k) {
			t.Fatalf("%s %+v: element %d is %v, want %v", kernel.name, x, i, cData[i], want[i])
		}
	}
	return cData
}

func testGemm[T float32 | float64](t *testing.T, kernels []*microkernel) {
	for _, kernel := range kernels {
		t.Run(fmt.Sprintf("%s/%d", kernel.name, kernel.elem), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			flip := func() bool { return r.IntN(2) == 0 }
			random := func(m, n, k int) gemmCase {
				return gemmCase{m, n, k, flip(), flip(), flip(), flip(), flip(), flip(), flip(), flip(), r.IntN(2) * r.IntN(5), 1 + r.IntN(3), r.IntN(8) == 0}
			}
			for m := 0; m <= 33; m++ {
				for n := 0; n <= 33; n++ {
					runCase[T](t, r, kernel, random(m, n, r.IntN(20)))
				}
			}
			for range 60 {
				runCase[T](t, r, kernel, random(1+r.IntN(70), 1+r.IntN(700), r.IntN(40)))
				runCase[T](t, r, kernel, random(1+r.IntN(30), 1+r.IntN(70), r.IntN(700)))
			}
		})
	}
}

func TestGemmFloat32(t *testing.T) { testGemm[float32](t, float32Kernels()) }
func TestGemmFloat64(t *testing.T) { testGemm[float64](t, float64Kernels()) }

// Fused kernel sets round alike, whatever their tiles, and the number of workers changes nothing.
func TestGemmSameBits(t *testing.T) {
	for seed := range uint64(16) {
		r := rand.New(rand.NewPCG(seed, 5))
		x := gemmCase{m: 1 + r.IntN(30), n: 1 + r.IntN(600), k: r.IntN(400), packA: r.IntN(2) == 0, packB: r.IntN(2) == 0, accumulate: true, relu: true}
		var first []float32
		for _, kernel := range float32Kernels() {
			if kernel.plain != nil && len(first) > 0 {
				continue
			}
			for x.workers = 1; x.workers < 5; x.workers++ {
				got := runCase[float32](t, rand.New(rand.NewPCG(seed, 6)), kernel, x)
				if first == nil {
					first = got
				}
				for i := range got {
					if math.Float32bits(got[i]) != math.Float32bits(first[i]) {
						t.Fatalf("%s %+v: element %d is %v, was %v", kernel.name, x, i, got[i], first[i])
					}
				}
			}
		}
	}
}
