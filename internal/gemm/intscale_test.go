package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
)

// nearestByte is the specification of rounding to an integer of lo..hi.
func nearestByte(v float32, zero, lo, hi float64) float64 {
	return max(lo, min(hi, math.RoundToEven(float64(v))+zero))
}

func scaleCase[A, B, T Integer](t *testing.T, r *rand.Rand, least, most T) {
	n := r.IntN(40)
	a, b := bytesOf[A](r, n), bytesOf[B](r, n)
	zeroA, zeroB, zero := bytesOf[A](r, 1)[0], bytesOf[B](r, 1)[0], bytesOf[T](r, 1)[0]
	scale := func() float32 { return float32(math.Exp2(-float64(r.IntN(9)))) * (1 + r.Float32()*float32(r.IntN(2))) }
	sa, sb, sy := scale(), scale(), scale()
	lo, hi := least+T(r.IntN(20)), most-T(r.IntN(20))
	x, y := make([]float32, n), make([]float32, n)
	Dequantize(x, a, sa, zeroA)
	Dequantize(y, b, sb, zeroB)
	sum, q := make([]T, n+1), make([]T, n+1)
	AddQuantized(Quantized[T]{sum[:n], sy, zero}, Quantized[A]{a, sa, zeroA}, Quantized[B]{b, sb, zeroB}, lo, hi)
	src, scales, offsets := make([]int32, n), make([]float32, n), make([]float32, n)
	for i := range src {
		src[i], scales[i], offsets[i] = int32(r.Uint32())>>r.IntN(31), scale(), float32(r.NormFloat64()*20)
		if r.IntN(9) == 0 && i > 0 {
			x[i] = float32(math.NaN())
		}
	}
	each, one := make([]T, n+1), make([]T, n+1)
	RequantizeEach(each[:n], src, scales, offsets, zero, lo, hi)
	RequantizeOffset(one[:n], src, sa, sb, zero, lo, hi)
	Quantize(q[:n], x, sy, zero, lo, hi)
	for i := range n {
		p, s := float32(int(a[i])-int(zeroA))*sa, float32(int(b[i])-int(zeroB))*sb
		if y[i] != s || x[i] == x[i] && x[i] != p {
			t.Fatalf("%T: dequantized %v less %v is %v, %v", a, a[i], zeroA, x[i], y[i])
		}
		want := func(v float32) float64 { return nearestByte(v, float64(zero), float64(lo), float64(hi)) }
		if got := float64(sum[i]); got != want(float32(p+s)/sy) {
			t.Fatalf("%T+%T: %v+%v over %v is %v", a, b, p, s, sy, got)
		}
		if got := float64(q[i]); x[i] == x[i] && got != want(x[i]/sy) || x[i] != x[i] && got != float64(lo) {
			t.Fatalf("%v over %v is %v", x[i], sy, got)
		}
		if got := float64(each[i]); got != want(float32(float32(src[i])*scales[i])+offsets[i]) {
			t.Fatalf("%d * %v + %v is %v", src[i], scales[i], offsets[i], got)
		}
		if got := float64(one[i]); got != want(float32(float32(src[i])*sa)+sb) {
			t.Fatalf("%d * %v + %v is %v", src[i], sa, sb, got)
		}
	}
	if sum[n] != 0 || q[n] != 0 || each[n] != 0 || one[n] != 0 {
		t.Fatal("wrote past the end")
	}
}

func TestScales(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 300 {
		scaleCase[uint8, int8, uint8](t, r, 0, 255)
		scaleCase[int8, int8, int8](t, r, -128, 127)
		scaleCase[uint8, uint8, int8](t, r, -128, 127)
		scaleCase[int8, uint8, uint8](t, r, 0, 255)
	}
}
