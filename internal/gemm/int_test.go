package gemm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxopt/onnxopt/internal/par"
)

func bytesOf[T Integer](r *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = T(r.IntN(256))
		if r.IntN(3) == 0 { // the extremes saturate in narrower arithmetic
			x[i] = T([4]int{0, 127, 128, 255}[r.IntN(4)])
		}
	}
	return x
}

func guardedInt(t *testing.T, n int) ([]int32, func()) {
	whole := make([]int32, n+100)
	for i := range whole {
		whole[i] = 777
	}
	return whole[50:][:n:n], func() {
		t.Helper()
		for i, v := range whole {
			if (i < 50 || i >= 50+n) && v != 777 {
				t.Fatalf("wrote at %d of %d", i-50, n)
			}
		}
	}
}

func intCase[A, B Integer](t *testing.T, r *rand.Rand, kernel *microkernel, m, n, k int) {
	zeros := func(n int) int { return [3]int{0, 1, n}[r.IntN(3)] }
	a, b := RowMajor(bytesOf[A](r, m*k), m, k), RowMajor(bytesOf[B](r, k*n), k, n)
	if r.IntN(2) == 0 {
		a = RowMajor(a.Data, k, m).T()
	}
	if r.IntN(2) == 0 {
		b = RowMajor(b.Data, n, k).T()
	}
	za, zb := bytesOf[A](r, zeros(m)), bytesOf[B](r, zeros(n))
	var bias []int32
	if r.IntN(2) == 0 {
		bias = make([]int32, m)
		for i := range bias {
			bias[i] = int32(r.Uint32())
		}
	}
	c, check := guardedInt(t, m*n)
	packed := packIntB(kernel, b, zb)
	GemmInt(RowMajor(c, m, n), a, za, packed, bias, nil, par.New(1+r.IntN(3)))
	check()
	for i := range m {
		for j := range n {
			var want int32
			if bias != nil {
				want = bias[i]
			}
			for p := range k {
				x, y := int32(a.Data[i*a.RowStride+p*a.ColStride]), int32(b.Data[p*b.RowStride+j*b.ColStride])
				if len(za) > 0 {
					x -= int32(za[i%len(za)])
				}
				if len(zb) > 0 {
					y -= int32(zb[j%len(zb)])
				}
				want += x * y
			}
			if got := c[i*n+j]; got != want {
				t.Fatalf("%s %T x %T, %dx%dx%d, %d and %d zero points: element %d, %d is %d, want %d", kernel.name, a.Data, b.Data, m, n, k, len(za), len(zb), i, j, got, want)
			}
		}
	}
}

func TestGemmInt(t *testing.T) {
	for _, kernel := range intKernels() {
		r := rand.New(rand.NewPCG(7, 8))
		for i := range 200 {
			m, n, k := r.IntN(34), r.IntN(34), r.IntN(70)
			if i%50 == 0 {
				n, k = r.IntN(600), r.IntN(1500)
			}
			intCase[uint8, int8](t, r, kernel, m, n, k)
			intCase[int8, int8](t, r, kernel, m, n, k)
			intCase[uint8, uint8](t, r, kernel, m, n, k)
			intCase[int8, uint8](t, r, kernel, m, n, k)
		}
	}
}

func intConvCase[X, W Integer](t *testing.T, r *rand.Rand, kernel *microkernel) {
	p, n, h, w := randomConv(r)
	m, k := p.Out/p.Groups, p.In/p.Groups
	weights, src := bytesOf[W](r, p.Out*k*p.Kernel[0]*p.Kernel[1]), bytesOf[X](r, n*p.In*h*w)
	zw := bytesOf[W](r, [3]int{0, 1, p.Out}[r.IntN(3)])
	zero := bytesOf[X](r, 1)[0]
	var bias []int32
	if r.IntN(2) == 0 {
		bias = make([]int32, p.Out)
		for i := range bias {
			bias[i] = int32(r.Uint32()) >> r.IntN(31)
		}
	}
	c, err := newIntConv(kernel, p, weights, zw, bias)
	if err != nil {
		t.Fatal(err)
	}
	oh, ow := p.OutputSize(h, w)
	workers := 1 + r.IntN(3)
	scratch, checkScratch := guardedInt(t, c.Scratch(h, w, workers))
	for i := range scratch {
		scratch[i] = int32(r.Uint32())
	}
	dst, check := guardedInt(t, n*p.Out*oh*ow)
	RunIntConv(c, dst, src, zero, n, h, w, scratch, par.New(workers))
	check()
	checkScratch()
	i := 0
	for b := range n {
		for o := range p.Out {
			for y := range oh {
				for x := range ow {
					var want int32
					if bias != nil {
						want = bias[o]
					}
					for ch := range k {
						for ky := range p.Kernel[0] {
							for kx := range p.Kernel[1] {
								iy, ix := y*p.Stride[0]+ky*p.Dilation[0]-p.Pad[0], x*p.Stride[1]+kx*p.Dilation[1]-p.Pad[1]
								if iy < 0 || iy >= h || ix < 0 || ix >= w {
									continue
								}
								wt := int32(weights[((o*k+ch)*p.Kernel[0]+ky)*p.Kernel[1]+kx])
								if len(zw) > 0 {
									wt -= int32(zw[o%len(zw)])
								}
								want += wt * (int32(src[((b*p.In+o/m*k+ch)*h+iy)*w+ix]) - int32(zero))
							}
						}
					}
					if dst[i] != want {
						t.Fatalf("%s %T x %T %+v, %d of %dx%d: element %d is %d, want %d", kernel.name, src, weights, p, n, h, w, i, dst[i], want)
					}
					i++
				}
			}
		}
	}
}

func TestIntConv(t *testing.T) {
	for _, kernel := range intKernels() {
		r := rand.New(rand.NewPCG(9, 10))
		for range 40 {
			intConvCase[uint8, int8](t, r, kernel)
			intConvCase[int8, int8](t, r, kernel)
			intConvCase[uint8, uint8](t, r, kernel)
			intConvCase[int8, uint8](t, r, kernel)
		}
	}
}

func TestRequantize(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 200 {
		n := r.IntN(40)
		src := make([]int32, n)
		for i := range src {
			src[i] = int32(r.Uint32()) >> r.IntN(31)
		}
		scale := float32(math.Exp2(-float64(r.IntN(24)))) // halves, which test ties, among others
		if r.IntN(2) == 0 {
			scale *= 1 + r.Float32()
		}
		u, s := make([]uint8, n+1), make([]int8, n+1)
		zu, zs := uint8(r.IntN(256)), int8(r.IntN(256)-128)
		Requantize(u[:n], src, scale, zu, 3, 255)
		Requantize(s[:n], src, scale, zs, -128, 100)
		for i, x := range src {
			v := math.RoundToEven(float64(float32(x) * scale))
			if want := max(3, min(255, v+float64(zu))); float64(u[i]) != want {
				t.Fatalf("%d * %v + %d is %d, want %v", x, scale, zu, u[i], want)
			}
			if want := max(-128, min(100, v+float64(zs))); float64(s[i]) != want {
				t.Fatalf("%d * %v + %d is %d, want %v", x, scale, zs, s[i], want)
			}
		}
		if u[n] != 0 || s[n] != 0 {
			t.Fatal("wrote past the end")
		}
	}
}
