package native_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

// TestRecurrent compares LSTM and GRU with their kernels: directions, layouts, states, biases, lengths, and forms that the
// executor leaves to the kernel.
func TestRecurrent(t *testing.T) {
	many(t, 300, func(r source) single {
		s := single{op: either(r, "LSTM", "GRU"), opset: 14}
		gates, states := int64(4), 2
		if s.op == "GRU" {
			gates, states = 3, 1
			s.attrs = append(s.attrs, ir.IntAttr("linear_before_reset", r.size(0, 1)))
		}
		dirs, direction := int64(1), either(r, "forward", "reverse", "bidirectional")
		if direction == "bidirectional" {
			dirs = 2
		}
		seq, batch, inputs, hidden := r.size(1, 6), r.size(1, 5), r.size(1, 20), r.size(1, 40)
		layout := r.size(0, 1)
		s.attrs = append(s.attrs, ir.StringAttr("direction", direction), ir.IntAttr("hidden_size", hidden), ir.IntAttr("layout", layout))
		x, state := []int64{seq, batch, inputs}, []int64{dirs, batch, hidden}
		if layout == 1 {
			x, state = []int64{batch, seq, inputs}, []int64{batch, dirs, hidden}
		}
		s.in = []*ir.Tensor{r.small(x...), r.small(dirs, gates*hidden, inputs), r.small(dirs, gates*hidden, hidden), nil, nil, nil, nil}
		if r.IntN(3) > 0 {
			s.in[3] = r.small(dirs, 2*gates*hidden)
		}
		if r.IntN(3) == 0 {
			lens := make([]int32, batch)
			for i := range lens {
				lens[i] = int32(seq)
			}
			if r.IntN(2) == 0 {
				lens[0] = int32(r.size(0, seq))
			}
			s.in[4] = ir.TensorOf(lens, batch)
		}
		for i := range states {
			if r.IntN(2) == 0 {
				s.in[5+i] = r.small(state...)
			}
		}
		switch s.in = s.in[:5+states]; r.IntN(13) {
		case 0:
			s.attrs = append(s.attrs, ir.FloatAttr("clip", 0.5))
		case 1:
			if s.op == "LSTM" {
				s.in = append(s.in, r.small(dirs, 3*hidden))
			}
		case 2:
			s.in[3] = r.small(dirs, gates*hidden) // an error
		case 3:
			s.attrs = append(s.attrs, ir.StringsAttr("activations", activationsFor(gates, dirs, either(r, "Tanh", "Relu"))))
		case 4:
			s.attrs = append(s.attrs, ir.StringsAttr("activations", []string{"Sigmoid"})) // too few, an error
		}
		s.out = int(r.size(0, int64(states)))
		return s
	})
}

// small has elements from -0.3 to 0.3, with which rounding differences do not grow from step to step.
func (r source) small(shape ...int64) *ir.Tensor {
	v := make([]float32, ir.NumElements(shape))
	for i := range v {
		v[i] = (r.Float32() - 0.5) * 0.6
	}
	return ir.TensorOf(v, shape...)
}

func activationsFor(gates, dirs int64, second string) (names []string) {
	for range dirs {
		names = append(names, "Sigmoid", second)
		if gates == 4 {
			names = append(names, "Tanh")
		}
	}
	return names
}
