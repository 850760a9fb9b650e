package cost

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/ir"
)

// formula returns the function that counts the multiply-accumulates of an operator, nil for operators that compute no
// sums of products. Bias additions and rescaling are not counted.
func formula(op ir.OpID) func(*reader) int64 {
	switch op.Domain {
	case "":
		switch op.Type {
		case "Conv", "ConvInteger":
			return conv(1)
		case "QLinearConv":
			return conv(3)
		case "ConvTranspose":
			return convTranspose
		case "MatMul", "MatMulInteger":
			return matMul(0, 1)
		case "QLinearMatMul":
			return matMul(0, 3)
		case "Gemm":
			return gemm
		case "LSTM", "GRU", "RNN":
			return recurrent
		case "Einsum":
			return einsum
		case "DeformConv":
			return conv(1)
		}
	case "com.microsoft":
		switch op.Type {
		case "FusedConv":
			return conv(1)
		case "FusedMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul":
			return matMul(0, 1)
		case "MatMulNBits":
			return func(s *reader) int64 { return analysis.Mul(s.out(), max(s.n.Int("K", 0), 0)) }
		case "FusedGemm":
			return gemm
		}
	}
	return nil
}

// conv counts a convolution whose weight [M, C/group, k...] is operand w: each element of the result takes C/group·Πk.
func conv(w int) func(*reader) int64 {
	return func(s *reader) int64 {
		h := s.in(w)
		if s.axis(h, 2); s.err != nil {
			return 0
		}
		return analysis.Mul(s.out(), s.len(h[1:]))
	}
}

// convTranspose counts weight [C, M/group, k...]: each element of the input takes M/group·Πk.
func convTranspose(s *reader) int64 {
	h := s.in(1)
	if s.axis(h, 2); s.err != nil {
		return 0
	}
	return analysis.Mul(s.len(s.in(0)), s.len(h[1:]))
}

// matMul counts a product of operands a and b: each element of the result takes as many as a's last axis is long.
func matMul(a, b int) func(*reader) int64 {
	return func(s *reader) int64 {
		k := s.dim(a, -1)
		x, y := s.in(a), s.in(b)
		if s.err != nil {
			return 0
		}
		if len(y) == 0 {
			return s.axis(y, 0)
		}
		rows, cols := x[:len(x)-1], ir.Shape{}
		if len(y) > 1 {
			cols = y[len(y)-1:]
		}
		n := analysis.Mul(s.len(tail(rows)), s.len(cols))
		return analysis.Mul(k, analysis.Mul(n, s.batch(head(rows), head(y[:max(len(y)-1, 0)]))))
	}
}

// tail is the last dimension of a list, head what stands before it.
func tail(h ir.Shape) ir.Shape { return h[max(len(h)-1, 0):] }

func head(h ir.Shape) ir.Shape { return h[:max(len(h)-1, 0)] }

// batch is the number of elements of the broadcast of two shapes.
func (s *reader) batch(a, b ir.Shape) int64 {
	n := int64(1)
	for i := range max(len(a), len(b)) {
		k := int64(1)
		if i < len(a) {
			k = s.size(a[len(a)-1-i])
		}
		if i < len(b) {
			if m := s.size(b[len(b)-1-i]); k == 1 {
				k = m
			}
		}
		n = analysis.Mul(n, k)
	}
	return n
}

// gemm counts A' [M,K] times B' [K,N].
func gemm(s *reader) int64 {
	ta, tb := min(s.n.Int("transA", 0), 1), min(s.n.Int("transB", 0), 1)
	if ta < 0 || tb < 0 {
		ta, tb = 1, 1
	}
	m, k, n := s.dim(0, ta), s.dim(0, 1-ta), s.dim(1, 1-tb)
	return analysis.Mul(m, analysis.Mul(k, n))
}

// recurrent counts X [seq, batch, input] (layout 1: [batch, seq, input]) through W [directions, gates·hidden, input] and
// R [directions, gates·hidden, hidden]: each step of each sequence takes every weight once.
func recurrent(s *reader) int64 {
	steps := analysis.Mul(s.dim(0, 0), s.dim(0, 1))
	return analysis.Mul(steps, analysis.Add(s.len(s.in(1)), s.len(s.in(2))))
}

// einsum counts the product of all index sizes: what the plain nested loop computes, for each operand after the first.
// An ellipsis is not counted.
func einsum(s *reader) int64 {
	eq := strings.ReplaceAll(s.n.Str("equation", ""), " ", "")
	left, _, _ := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	size := map[rune]int64{}
	for i, t := range terms {
		if strings.Contains(t, ".") {
			s.err = fmt.Errorf("the equation %q has an ellipsis", eq)
			return 0
		}
		for axis, c := range []rune(t) {
			size[c] = max(size[c], s.dim(i, int64(axis)))
		}
	}
	if s.err != nil || len(terms) < 2 {
		return 0
	}
	n := int64(len(terms) - 1)
	for _, k := range size {
		n = analysis.Mul(n, k)
	}
	return n
}
