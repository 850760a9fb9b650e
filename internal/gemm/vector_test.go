package gemm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.5, 89, 88.7, 88.8, -87.4, -103, -104, -200, 1e-40, -1e-40, 1e-20, 0.6, 0.92773, -0.92774,
	5, -5, 9, -9, 20, 3e38, -3e38, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

func testUnary(t *testing.T, name string, f func(dst, src []float32), plain func(float32) float32, ulps, absolute float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(13, 14))
	worst := 0.
	for n := range 120 {
		src := make([]float32, n)
		for i := range src {
			if src[i] = float32(r.NormFloat64()) * []float32{1e-3, 1, 4, 40}[r.IntN(4)]; r.IntN(3) == 0 {
				src[i] = special[r.IntN(len(special))]
			}
		}
		dst, check := guarded[float32](t, n)
		f(dst, src)
		check()
		inPlace := append([]float32(nil), src...)
		f(inPlace, inPlace)
		for i, x := range src {
			want := plain(x)
			if math.Float32bits(inPlace[i]) != math.Float32bits(dst[i]) {
				t.Fatalf("%s(%v) is %v, in place %v", name, x, dst[i], inPlace[i])
			}
			if dst[i] == want || (want != want && dst[i] != dst[i]) {
				continue
			}
			ulp := math.Abs(float64(math.Nextafter32(want, positiveInf)) - float64(want))
			d := math.Abs(float64(dst[i]) - float64(want))
			if !(d <= ulps*ulp || d <= absolute) {
				t.Fatalf("%s(%v) at %d of %d is %v, want %v", name, x, i, n, dst[i], want)
			}
			if d > absolute {
				worst = max(worst, d/ulp)
			}
		}
	}
	if worst > 0 {
		t.Logf("%s: at most %.1f units in the last place", name, worst)
	}
}

func TestUnary(t *testing.T) {
	testUnary(t, "exp", Exp, plainExp, 2, 0)
	testUnary(t, "sigmoid", Sigmoid, plainSigmoid, 4, 1e-37)
	testUnary(t, "tanh", Tanh, plainTanh, 4, 0)
	testUnary(t, "erf", Erf, plainErf, 4, 0)
	testUnary(t, "gelu", Gelu, plainGelu, 4, 5e-7)
	testUnary(t, "silu", Silu, plainSilu, 4, 1e-35)
	testUnary(t, "clip", func(d, s []float32) { Clip(d, s, -0.5, 3) }, func(x float32) float32 { return clamp(x, -0.5, 3) }, 0, 0)
	testUnary(t, "relu", func(d, s []float32) { Clip(d, s, 0, positiveInf) }, func(x float32) float32 { return clamp(x, 0, positiveInf) }, 0, 0)
	testUnary(t, "standardize", func(d, s []float32) { Standardize(d, s, .3, 1.7, -.2, -1, 2) }, func(x float32) float32 { return clamp(float32((x-.3)*1.7)+-.2, -1, 2) }, 0, 0)
	testUnary(t, "hardsigmoid", func(d, s []float32) { HardSigmoid(d, s, .2, .5) }, func(x float32) float32 { return clamp(float32(.2*x)+.5, 0, 1) }, 0, 0)
	testUnary(t, "hardswish", HardSwish, func(x float32) float32 { return x * clamp(float32(x*float32(1./6))+.5, 0, 1) }, 0, 0)
	for _, s := range special {
		testUnary(t, "addscalar", func(d, x []float32) { AddScalar(d, x, s) }, func(x float32) float32 { return x + s }, 0, 0)
		testUnary(t, "subscalar", func(d, x []float32) { SubScalar(d, x, s) }, func(x float32) float32 { return x - s }, 0, 0)
		testUnary(t, "mulscalar", func(d, x []float32) { MulScalar(d, x, s) }, func(x float32) float32 { return x * s }, 0, 0)
		testUnary(t, "divscalar", func(d, x []float32) { DivScalar(d, x, s) }, func(x float32) float32 { return x / s }, 0, 0)
	}
}

func TestBinary(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     func(dst, a, b []float32)
		plain func(a, b float32) float32
	}{
		{"maximum", Maximum, func(a, b float32) float32 { return max(a, b) }}, {"add", Add, func(a, b float32) float32 { return a + b }}, {"sub", Sub, func(a, b float32) float32 { return a - b }},
		{"mul", Mul, func(a, b float32) float32 { return a * b }}, {"div", Div, func(a, b float32) float32 { return a / b }},
	} {
		r := rand.New(rand.NewPCG(15, 16))
		for n := range 70 {
			a, b := fill(r, make([]float32, n)), fill(r, make([]float32, n))
			if n > 0 {
				a[r.IntN(n)], b[r.IntN(n)] = special[r.IntN(len(special))], special[r.IntN(len(special))]
			}
			dst, check := guarded[float32](t, n)
			c.f(dst, a, b)
			check()
			for i := range dst {
				if want := c.plain(a[i], b[i]); dst[i] != want && (want == want || dst[i] == dst[i]) {
					t.Fatalf("%s(%v, %v) is %v, want %v", c.name, a[i], b[i], dst[i], want)
				}
			}
		}
	}
}

func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for n := 1; n < 100; n++ {
		src, scale, bias := fill(r, make([]float32, n)), fill(r, make([]float32, n)), fill(r, make([]float32, n))
		for i := range src {
			src[i] *= 20
		}
		var sum, largest, exps float64 = 0, math.Inf(-1), 0
		for _, x := range src {
			sum += float64(x)
			largest = max(largest, float64(x))
		}
		mean, squares := sum/float64(n), 0.
		for _, x := range src {
			exps += math.Exp(float64(x) - largest)
			squares += (float64(x) - mean) * (float64(x) - mean)
		}
		if float64(Max(src)) != largest {
			t.Fatalf("maximum of %d is %v, want %v", n, Max(src), largest)
		}
		inv := 1 / math.Sqrt(squares/float64(n)+1e-5)
		soft, checkSoft := guarded[float32](t, n)
		SoftmaxRow(soft, src)
		checkSoft()
		norm, checkNorm := guarded[float32](t, n)
		LayerNormRow(norm, src, scale, bias, 1e-5)
		checkNorm()
		for i, x := range src {
			if want := math.Exp(float64(x)-largest) / exps; math.Abs(float64(soft[i])-want) > 1e-6*want+1e-12 {
				t.Fatalf("softmax of %d: element %d is %v, want %v", n, i, soft[i], want)
			}
			if want := (float64(x)-mean)*inv*float64(scale[i]) + float64(bias[i]); math.Abs(float64(norm[i])-want) > 2e-5 && n > 1 {
				t.Fatalf("layer norm of %d: element %d is %v, want %v", n, i, norm[i], want)
			}
		}
		for _, bad := range []float32{float32(math.NaN()), positiveInf} {
			src[r.IntN(n)] = bad
			SoftmaxRow(soft, src)
			LayerNormRow(norm, src, scale, bias, 1e-5)
			at := r.IntN(n)
			if bad != bad && soft[at] == soft[at] || norm[at] == norm[at] {
				t.Fatalf("%v in a row of %d is lost: softmax %v, layer norm %v", bad, n, soft[at], norm[at])
			}
			src = fill(r, src)
		}
		for i := range src {
			src[i] = negativeInf
		}
		SoftmaxRow(soft, src)
		if soft[n-1] == soft[n-1] {
			t.Fatalf("softmax of %d times -Inf is %v", n, soft[n-1])
		}
	}
}

// TestSoftmaxRows has rows that share vectors and rows that do not; NaN and infinities stay in their row.
func TestSoftmaxRows(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for n := 1; n < 20; n++ {
		for _, rows := range []int{1, 3, 130} {
			src := fill(r, make([]float32, rows*n))
			odd := r.IntN(rows)
			src[odd*n+r.IntN(n)] = []float32{float32(math.NaN()), positiveInf, negativeInf}[r.IntN(3)]
			dst, check := guarded[float32](t, len(src))
			SoftmaxRows(dst, src, n)
			check()
			inPlace := append([]float32(nil), src...)
			SoftmaxRows(inPlace, inPlace, n)
			for i := range rows {
				row := src[i*n:][:n]
				sum, top := 0., slices.Max(row)
				for _, x := range row {
					sum += math.Exp(float64(x) - float64(top))
				}
				for j, x := range row {
					want, got := math.Exp(float64(x)-float64(top))/sum, float64(dst[i*n+j])
					if math.Float32bits(inPlace[i*n+j]) != math.Float32bits(dst[i*n+j]) || (want != want) != (got != got) || math.Abs(got-want) > 1e-6*want+1e-12 {
						t.Fatalf("row %d of %dx%d: element %d is %v, in place %v, want %v", i, rows, n, j, got, inPlace[i*n+j], want)
					}
				}
			}
		}
	}
}

func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	for rows := range 34 {
		for cols := range 34 {
			srcStride, dstStride := cols+r.IntN(3), rows+r.IntN(3)
			src := fill(r, make([]float32, rows*srcStride))
			dst, check := guarded[float32](t, max(0, (cols-1)*dstStride+rows))
			Transpose(dst, src, rows, cols, dstStride, srcStride)
			check()
			for i := range rows {
				for j := range cols {
					if dst[j*dstStride+i] != src[i*srcStride+j] {
						t.Fatalf("%dx%d: element %d, %d", rows, cols, i, j)
					}
				}
			}
		}
	}
}
