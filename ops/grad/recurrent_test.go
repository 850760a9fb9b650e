package grad_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ops/grad"
)

// layer is a recurrent layer of two sequences of three steps, of two numbers each, with a hidden state of two numbers.
func layer(op, direction, attrs, used string, layout, lens, states bool) (inputs, nodes string) {
	gates, d := 4, 1
	if op == "GRU" {
		gates = 3
	}
	if direction == "bidirectional" {
		d = 2
	}
	x, state := "3,2,2", fmt.Sprintf("%d,2,2", d)
	if layout {
		x, state, attrs = "2,3,2", fmt.Sprintf("2,%d,2", d), attrs+", layout = 1"
	}
	inputs = fmt.Sprintf("double[%s] x, double[%d,%d,2] w, double[%d,%d,2] r", x, d, 2*gates, d, 2*gates)
	operands := []string{"x", "w", "r", "", "", "", ""}
	if states {
		inputs += fmt.Sprintf(", double[%d,%d] b, double[%s] h", d, 4*gates, state)
		operands[3], operands[5] = "b", "h"
		if op == "LSTM" {
			inputs += fmt.Sprintf(", double[%s] c", state)
			operands[6] = "c"
		}
	}
	if lens {
		nodes, operands[4] = "n = Constant<value = int32[2] {1, 3}>() ", "n"
	}
	if op == "GRU" {
		operands = operands[:6]
	}
	results := strings.Split(used, " ")
	nodes += fmt.Sprintf("%s = %s<hidden_size = 2, direction = \"%s\"%s>(%s) m = Constant<value = int64[1] {-1}>() ", strings.Join(results, ", "), op, direction, attrs, strings.Join(operands, ", "))
	var flat []string
	for i, v := range results {
		if v != "" {
			nodes += fmt.Sprintf("f%d = Reshape(%s, m) ", i, v)
			flat = append(flat, fmt.Sprint("f", i))
		}
	}
	return inputs, nodes + fmt.Sprintf("y = Concat<axis = 0>(%s)", strings.Join(flat, ", "))
}

// TestRecurrent holds LSTM and GRU against finite differences: directions, layouts, lengths, states, and each of the results alone.
func TestRecurrent(t *testing.T) {
	for _, op := range []string{"LSTM", "GRU", "GRU late"} {
		name, late, _ := strings.Cut(op, " ")
		attrs, used := "", []string{"all last cell", "all", " last", "  cell"}
		if name == "GRU" {
			used = []string{"all last", "all", " last"}
		}
		if late != "" {
			attrs, used = ", linear_before_reset = 1", used[:1]
		}
		for _, direction := range []string{"forward", "reverse", "bidirectional"} {
			for i, u := range used {
				for k := range 4 {
					if i > 0 && k != 1 {
						continue
					}
					in, nodes := layer(name, direction, attrs, u, k&2 != 0, k&1 != 0, k != 2)
					t.Run(fmt.Sprintf("%s/%s/%s/%d", op, direction, u, k), func(t *testing.T) { differences(t, in, nodes) })
				}
			}
		}
	}
}

func TestRecurrentUnknown(t *testing.T) {
	for want, attrs := range map[string]string{
		"clip":            ", clip = 1.0",
		"activation Relu": `, activations = ["Sigmoid", "Relu", "Tanh"]`,
		"input_forget":    ", input_forget = 1",
	} {
		in, nodes := layer("LSTM", "forward", attrs, "all", false, false, false)
		require.ErrorContains(t, grad.Append(model(t, in, nodes), grad.Options{Loss: "loss", Params: []string{"x"}}), want)
	}
}
