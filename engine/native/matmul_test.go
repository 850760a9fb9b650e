package native_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

func TestMatMul(t *testing.T) {
	many(t, 150, func(r source) single {
		m, k, n := either(r, 0, 1, r.size(1, 6), r.size(1, 150)), either(r, 0, 1, r.size(1, 30), r.size(250, 600)), either(r, 0, 1, r.size(1, 70))
		as, bs := []int64{m, k}, []int64{k, n}
		b := r.size(1, 3)
		switch r.IntN(7) {
		case 0:
			as = []int64{b, m, k}
		case 1:
			as, bs = []int64{b, m, k}, []int64{b, k, n}
		case 2:
			as, bs = []int64{2, 1, m, k}, []int64{b, k, n}
		case 3:
			bs = []int64{b, k, n}
		case 4:
			as = []int64{k}
		case 5:
			bs = []int64{k + r.size(0, 1)}
		}
		return single{op: "MatMul", opset: 13, in: []*ir.Tensor{r.tensor(r.IntN(6) == 0, as...), r.tensor(false, bs...)}}
	})
}

func TestGemm(t *testing.T) {
	many(t, 150, func(r source) single {
		m, k, n := either(r, r.size(1, 5), r.size(1, 40)), either(r, r.size(1, 30), r.size(250, 600)), r.size(1, 50)
		s := single{op: "Gemm", opset: 13}
		as, bs := []int64{m, k}, []int64{k, n}
		if r.IntN(2) == 0 {
			as = []int64{k, m}
			s.attrs = append(s.attrs, ir.IntAttr("transA", 1))
		}
		if r.IntN(2) == 0 {
			bs = []int64{n, k}
			s.attrs = append(s.attrs, ir.IntAttr("transB", 1))
		}
		if r.IntN(4) == 0 {
			s.attrs = append(s.attrs, ir.FloatAttr("alpha", 0.5))
		}
		if r.IntN(4) == 0 {
			s.attrs = append(s.attrs, ir.FloatAttr("beta", 2))
		}
		s.in = []*ir.Tensor{r.tensor(false, as...), r.tensor(false, bs...)}
		switch r.IntN(5) {
		case 0:
			s.in = append(s.in, r.tensor(false, n))
		case 1:
			s.in = append(s.in, r.tensor(false, m, 1))
		case 2:
			s.in = append(s.in, r.tensor(false))
		case 3:
			s.in = append(s.in, r.tensor(false, 1, n))
		}
		return s
	})
}
