package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerReduce reduces axes.
func lowerReduce(b *builder, n *ir.Node) error {
	if b.typ(n.Result(0)) != float {
		return errors.New("numbers that are no floats")
	}
	in := b.shape(n.Operand(0))
	var axes []int
	if v := n.Operand(1); v != nil {
		var err error
		if axes, err = b.ints(v); err != nil {
			return err
		}
	}
	for _, a := range n.Ints("axes") {
		axes = append(axes, int(a))
	}
	gone := make([]bool, len(in))
	for _, a := range axes {
		gone[normal(int64(a), len(in))] = true
	}
	if len(axes) == 0 {
		if n.Int("noop_with_empty_axes", 0) != 0 {
			return lowerReshape(b, n)
		}
		for i := range gone {
			gone[i] = true
		}
	}
	kind := n.Op().Type
	count, trailing := 1, true
	for i, g := range gone {
		if g {
			count *= in[i]
		} else if i > 0 && gone[i-1] && in[i] > 1 {
			trailing = false
		}
	}
	x := b.flat(n.Operand(0))
	y := b.result(n, false)
	y.stiff = true
	end := map[string]string{
		"ReduceMean": fmt.Sprintf("%%s * %s", literalOf(float32(1/float64(count)))), "ReduceL2": "sqrtf(%s)", "ReduceLogSum": "logf(%s)",
	}[kind]
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		row := map[string]string{"ReduceSum": "@row_sum", "ReduceMean": "@row_sum", "ReduceMax": "@row_max", "ReduceSumSquare": "@row_squares", "ReduceL2": "@row_squares"}[kind]
		size := product(y.shape)
		if trailing && row != "" {
			f.loop("i", size)
			extra := ""
			if row == "@row_squares" {
				extra = ", 0.0f"
			}
			e := fmt.Sprintf("%s(a0 + i * %d, %d%s)", row, count, count, extra)
			if end != "" {
				e = fmt.Sprintf(end, e)
			}
			f.line("y0[i] = %s;", e)
			f.end()
			return
		}
		first := map[string]string{"ReduceMax": "-HUGE_VALF", "ReduceMin": "HUGE_VALF", "ReduceProd": "1.0f"}[kind]
		if first == "" {
			first = "0.0f"
		}
		f.line("for (int i = 0; i < %d; i++) y0[i] = %s;", size, first)
		kept := make([]int, len(in)) // strides of the result over the operand's axes
		s := 1
		for i := len(in) - 1; i >= 0; i-- {
			if !gone[i] {
				kept[i] = s
				s *= in[i]
			}
		}
		formula := map[string]string{
			"ReduceMax": "%[1]s = @max(%[1]s, %[2]s);", "ReduceMin": "%[1]s = @min(%[1]s, %[2]s);", "ReduceProd": "%[1]s *= %[2]s;",
			"ReduceSumSquare": "%[1]s += %[2]s * %[2]s;", "ReduceL2": "%[1]s += %[2]s * %[2]s;", "ReduceL1": "%[1]s += fabsf(%[2]s);",
		}[kind]
		if formula == "" {
			formula = "%[1]s += %[2]s;"
		}
		f.nest(in, []*access{{"y0", 0, kept}, {"a0", 0, rowMajor(in)}}, func(at []string) { f.line(formula, at[0], at[1]) })
		if end != "" {
			f.line("for (int i = 0; i < %d; i++) y0[i] = %s;", size, fmt.Sprintf(end, "y0[i]"))
		}
	})
	return nil
}

// lowerArg is ArgMax or ArgMin.
func lowerArg(b *builder, n *ir.Node) error {
	if b.typ(n.Operand(0)) != float {
		return errors.New("numbers that are no floats")
	}
	in := b.shape(n.Operand(0))
	axis := normal(n.Int("axis", 0), len(in))
	x := b.flat(n.Operand(0))
	y := b.result(n, false)
	y.stiff = true
	op := ">"
	if n.Is("ArgMin") {
		op = "<"
	}
	if n.Int("select_last_index", 0) != 0 {
		op += "="
	}
	outer, count, inner := product(in[:axis]), in[axis], product(in[axis+1:])
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		f.loop("o", outer)
		f.loop("i", inner)
		f.line("int m = 0;")
		f.line("for (int k = 1; k < %d; k++) if (a0[(o * %d + k) * %d + i] %s a0[(o * %d + m) * %d + i]) m = k;", count, count, inner, op, count, inner)
		f.line("y0[o * %d + i] = m;", inner)
		f.end()
		f.end()
	})
	return nil
}

// lowerSoftmax is Softmax or LogSoftmax along an axis.
func lowerSoftmax(b *builder, n *ir.Node) error {
	in := b.shape(n.Operand(0))
	axis := normal(n.Int("axis", -1), len(in))
	x := b.flat(n.Operand(0))
	y := b.result(n, false)
	y.stiff = true
	outer, count, inner := product(in[:axis]), in[axis], product(in[axis+1:])
	log := n.Is("LogSoftmax")
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		f.loop("o", outer)
		if inner == 1 {
			f.line("const float *p = a0 + o * %d;", count)
			f.line("float *q = y0 + o * %d;", count)
			f.line("const float m = @row_max(p, %d);", count)
			f.line("for (int k = 0; k < %d; k++) q[k] = @exp(p[k] - m);", count)
			f.line("const float t = @row_sum(q, %d);", count)
			if log {
				f.line("const float g = logf(t) + m;")
				f.line("for (int k = 0; k < %d; k++) q[k] = p[k] - g;", count)
			} else {
				f.line("const float g = 1.0f / t;")
				f.line("for (int k = 0; k < %d; k++) q[k] *= g;", count)
			}
		} else {
			f.loop("i", inner)
			f.line("const float *p = a0 + o * %d + i;", count*inner)
			f.line("float *q = y0 + o * %d + i;", count*inner)
			f.line("float m = p[0], t = 0.0f;")
			f.line("for (int k = 1; k < %d; k++) m = @max(m, p[k * %d]);", count, inner)
			f.line("for (int k = 0; k < %d; k++) {", count)
			f.line("q[k * %d] = @exp(p[k * %d] - m);", inner, inner)
			f.line("t += q[k * %d];", inner)
			f.end()
			if log {
				f.line("const float g = logf(t) + m;")
				f.line("for (int k = 0; k < %d; k++) q[k * %d] = p[k * %d] - g;", count, inner, inner)
			} else {
				f.line("for (int k = 0; k < %d; k++) q[k * %d] /= t;", count, inner)
			}
			f.end()
		}
		f.end()
	})
	return nil
}

// lowerLayerNorm normalizes over the axes from one on.
func lowerLayerNorm(b *builder, n *ir.Node) error {
	for i := 1; i < n.NumResults(); i++ {
		if v := n.Result(i); v != nil && v.NumUses() > 0 {
			return errors.New("the mean or deviation as a result")
		}
	}
	in := b.shape(n.Operand(0))
	axis := normal(n.Int("axis", -1), len(in))
	outer, count := product(in[:axis]), product(in[axis:])
	rms := n.Is("RMSNormalization")
	list := []*tensor{b.flat(n.Operand(0)), b.flat(n.Operand(1))}
	if product(list[1].shape) != count {
		return errors.New("a factor of another shape")
	}
	if v := n.Operand(2); v != nil {
		list = append(list, b.flat(v))
		if product(list[2].shape) != count {
			return errors.New("a summand of another shape")
		}
	}
	y := b.result(n, false)
	y.stiff = true
	eps := n.Float("epsilon", 1e-5)
	b.add(list, []*tensor{y}, func(f *text, _ int) {
		f.loop("o", outer)
		f.line("const float *p = a0 + o * %d;", count)
		f.line("float *q = y0 + o * %d;", count)
		if rms {
			f.line("const float m = 0.0f;")
		} else {
			f.line("const float m = @row_sum(p, %d) * %s;", count, literalOf(float32(1/float64(count))))
		}
		f.line("const float g = 1.0f / sqrtf(@row_squares(p, %d, m) * %s + %s);", count, literalOf(float32(1/float64(count))), literalOf(eps))
		e := "(p[k] - m) * g * a1[k]"
		if len(list) > 2 {
			e += " + a2[k]"
		}
		f.line("for (int k = 0; k < %d; k++) q[k] = %s;", count, e)
		f.end()
	})
	return nil
}

// lowerInstanceNorm normalizes each channel by itself; groups of channels for GroupNormalization.
func lowerInstanceNorm(b *builder, n *ir.Node) error {
	in := b.shape(n.Operand(0))
	groups := in[1]
	if n.Is("GroupNormalization") {
		groups = int(n.Int("num_groups", 1))
	}
	x, s, o := b.flat(n.Operand(0)), b.flat(n.Operand(1)), b.flat(n.Operand(2))
	if product(s.shape) != in[1] {
		return errors.New("factors of another number")
	}
	y := b.result(n, false)
	y.stiff = true
	size := product(in[2:])
	count := in[1] / groups * size
	eps := n.Float("epsilon", 1e-5)
	b.add([]*tensor{x, s, o}, []*tensor{y}, func(f *text, _ int) {
		f.loop("o", in[0]*groups)
		f.line("const float *p = a0 + o * %d;", count)
		f.line("float *q = y0 + o * %d;", count)
		f.line("const float m = @row_sum(p, %d) * %s;", count, literalOf(float32(1/float64(count))))
		f.line("const float g = 1.0f / sqrtf(@row_squares(p, %d, m) * %s + %s);", count, literalOf(float32(1/float64(count))), literalOf(eps))
		f.loop("c", in[1]/groups)
		f.line("const int k = o %% %d * %d + c;", groups, in[1]/groups)
		f.line("for (int i = 0; i < %d; i++) q[c * %d + i] = (p[c * %d + i] - m) * g * a1[k] + a2[k];", size, size, size)
		f.end()
		f.end()
	})
	return nil
}
