package tflite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// window is the geometry of a convolution or pooling over two spatial axes, height first; one-dimensional ones have height 1.
type window struct {
	kernel, strides, dilations [2]int
	pads                       [4]int // top, left, bottom, right
	in, out                    [2]int
}

// windowOf reads the attributes of n, whose operand has so many spatial axes.
func (e *emitter) windowOf(n *ir.Node, kernel []int) (w window, err error) {
	in, out := e.shape(n.Operand(0)), e.shape(n.Result(0))
	if len(in) != 3 && len(in) != 4 || len(kernel) != len(in)-2 {
		return w, fmt.Errorf("%d spatial axes", len(in)-2)
	}
	pair := func(list []int64, def int) (p [2]int) {
		p = [2]int{def, def}
		for i, v := range list {
			p[2-len(list)+i] = int(v)
		}
		return p
	}
	w.strides, w.dilations = pair(n.Ints("strides"), 1), pair(n.Ints("dilations"), 1)
	w.kernel, w.in, w.out = [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}
	at := 4 - len(in)
	for i, k := range kernel {
		w.kernel[at+i], w.in[at+i], w.out[at+i] = k, in[2+i], out[2+i]
	}
	switch auto := n.Str("auto_pad", "NOTSET"); auto {
	case "VALID":
	case "NOTSET", "":
		if p := n.Ints("pads"); len(p) > 0 {
			for i := range len(in) - 2 {
				w.pads[at+i], w.pads[2+at+i] = int(p[i]), int(p[len(in)-2+i])
			}
		}
	case "SAME_UPPER", "SAME_LOWER":
		for i := range 2 {
			total := max((w.out[i]-1)*w.strides[i]+(w.kernel[i]-1)*w.dilations[i]+1-w.in[i], 0)
			w.pads[i], w.pads[2+i] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				w.pads[i], w.pads[2+i] = w.pads[2+i], w.pads[i]
			}
		}
	default:
		return w, fmt.Errorf("auto_pad %s", auto)
	}
	return w, nil
}

// same reports whether the target's padding SAME is that of the window.
func (w *window) same() bool {
	for i := range 2 {
		total := max((w.out[i]-1)*w.strides[i]+(w.kernel[i]-1)*w.dilations[i]+1-w.in[i], 0)
		if w.out[i] != (w.in[i]+w.strides[i]-1)/w.strides[i] || w.pads[i] != total/2 || w.pads[2+i] != total-total/2 {
			return false
		}
	}
	return true
}

// picture is operand 0 with channels last and two spatial axes.
func (e *emitter) picture(n *ir.Node) *tensor {
	v := n.Operand(0)
	s := e.shape(v)
	t := e.as(v, channelsLast(len(s)))
	if len(s) == 3 {
		t = e.reshape(v.Name(), t, []int{t.shape[0], 1, t.shape[1], t.shape[2]})
	}
	return t
}

// defineImage defines v as a tensor with channels last and two spatial axes.
func (e *emitter) defineImage(v *ir.Value, t *tensor) {
	rank := len(e.shape(v))
	if rank == 3 {
		t = e.reshape(v.Name(), t, []int{t.shape[0], t.shape[2], t.shape[3]})
	}
	e.define(v, t, channelsLast(rank))
}

// padded is t with the pads of the window, filled with a number, and the padding that remains for the operator.
func (e *emitter) padded(t *tensor, w *window, fill float32) (*tensor, int8) {
	switch {
	case w.pads == [4]int{}:
		return t, paddingValid
	case w.same():
		return t, paddingSame
	}
	shape := slices.Clone(t.shape)
	shape[1] += w.pads[0] + w.pads[2]
	shape[2] += w.pads[1] + w.pads[3]
	data := make([]int32, 8)
	data[2], data[3], data[4], data[5] = int32(w.pads[0]), int32(w.pads[2]), int32(w.pads[1]), int32(w.pads[3])
	pads := e.literal("pads", typeInt32, []int{4, 2}, ir.AsBytes(data))
	if fill < 0 && e.region == nil && e.notBelowZero(t, 8) { // zero is as low, and XNNPACK takes PAD
		fill = 0
	}
	if fill == 0 || e.region != nil {
		if fill != 0 {
			c := e.tensor("lowest", typeInt8, []int{})
			c.data, c.quant = []byte{0x80}, t.quant
			return e.op(opPadV2, t.name, t.typ, shape, options{}, t, pads, c), paddingValid
		}
		return e.op(opPad, t.name, t.typ, shape, options{}, t, pads), paddingValid
	}
	return e.op(opPadV2, t.name, t.typ, shape, options{}, t, pads, e.scalar(fill)), paddingValid
}

// notBelowZero reports whether no element of t is below zero, by what it is computed of, so many operators back.
func (e *emitter) notBelowZero(t *tensor, depth int) bool {
	i := slices.IndexFunc(e.file.ops, func(o *operation) bool { return slices.Contains(o.out, t) })
	if i < 0 || depth == 0 {
		return false
	}
	o := e.file.ops[i]
	switch o.code {
	case opRelu, opRelu6, opRelu0To1, opLogistic, opSoftmax, opAbs:
		return true
	case opConv, opDepthwiseConv, opTransposeConv, opFullyConnected, opAdd, opMul, opSub, opDiv:
		act := o.options.activation(o.code)
		return act == actRelu || act == actRelu6
	case opReshape, opTranspose, opSlice, opMaxPool, opAveragePool:
		return e.notBelowZero(o.in[0], depth-1)
	case opConcatenation:
		return !slices.ContainsFunc(o.in, func(u *tensor) bool { return !e.notBelowZero(u, depth-1) })
	}
	return false
}

// weights is a constant operand of floats with the axes [outputs, inputs, height, width].
func (e *emitter) weights(v *ir.Value) (*ir.Tensor, []int, error) {
	t := e.constant(v)
	if t == nil || t.DType() != ir.Float32 {
		return nil, nil, errors.New("weights that are no float constants")
	}
	s := e.shape(v)
	if len(s) == 3 {
		s = []int{s[0], s[1], 1, s[2]}
		t = t.Reshape([]int64{t.Shape()[0], t.Shape()[1], 1, t.Shape()[2]})
	}
	return t, s, nil
}

// bias is a constant operand, or zeros.
func (e *emitter) bias(n *ir.Node, i, outputs int) (*tensor, error) {
	v := n.Operand(i)
	if v == nil {
		return e.literal("bias", typeFloat32, []int{outputs}, make([]byte, 4*outputs)), nil
	}
	if e.constant(v) == nil {
		return nil, errors.New("a bias that is no constant")
	}
	return e.view(v).t, nil
}

func lowerConv(e *emitter, n *ir.Node) error {
	weights, ws, wq, err := e.kernelOf(n, 0)
	if err != nil {
		return err
	}
	rank := len(e.shape(n.Operand(0)))
	w, err := e.windowOf(n, ws[len(ws)-(rank-2):])
	if err != nil {
		return err
	}
	picture := e.picture(n)
	bias, err := e.biasFor(n, ws[0], picture, wq)
	if err != nil {
		return err
	}
	last, act := e.activation(n)
	x, padding := e.padded(picture, &w, 0)
	out := []int{x.shape[0], w.out[0], w.out[1], ws[0]}
	data, err := weights.Bytes()
	if err != nil {
		return err
	}
	base, name := n.Operand(1).Name(), last.Result(0).Name()
	groups := int(n.Int("group", 1))
	var y *tensor
	if channels := x.shape[3]; groups == channels && groups > 1 {
		k := e.kernel(base, []int{1, ws[2], ws[3], ws[0]}, transposeBytes(data, ws, []int{1, 2, 3, 0}), wq, 3)
		y = e.op(opDepthwiseConv, name, x.typ, out, depthwiseOptions(padding, w.strides, w.dilations, ws[0]/channels, act), x, k, bias)
	} else {
		k := e.kernel(base, []int{ws[0], ws[2], ws[3], ws[1]}, transposeBytes(data, ws, []int{0, 2, 3, 1}), wq, 0)
		y = e.op(opConv, name, x.typ, out, convOptions(padding, w.strides, w.dilations, act), x, k, bias)
	}
	e.defineImage(last.Result(0), y)
	return nil
}

// lowerConvTranspose computes everything and cuts the pads off.
func lowerConvTranspose(e *emitter, n *ir.Node) error {
	weights, ws, wq, err := e.kernelOf(n, 1)
	if err != nil {
		return err
	}
	rank := len(e.shape(n.Operand(0)))
	w, err := e.windowOf(n, ws[len(ws)-(rank-2):])
	switch {
	case err != nil:
		return err
	case n.Str("auto_pad", "NOTSET") != "NOTSET" || n.Attr("output_shape") != nil:
		return errors.New("padding that follows from the size of the result")
	}
	data, err := weights.Bytes()
	if err != nil {
		return err
	}
	if data, ws, wq, err = whole(data, ws, wq, int(n.Int("group", 1)), w.dilations); err != nil {
		return err
	}
	w.kernel, w.dilations = [2]int{ws[2], ws[3]}, [2]int{1, 1}
	x := e.picture(n)
	bias, err := e.biasFor(n, ws[1], x, wq)
	if err != nil {
		return err
	}
	full := []int{x.shape[0], (w.in[0]-1)*w.strides[0] + w.kernel[0], (w.in[1]-1)*w.strides[1] + w.kernel[1], ws[1]}
	want := []int{x.shape[0], w.out[0], w.out[1], ws[1]}
	k := e.kernel(n.Operand(1).Name(), []int{ws[1], ws[2], ws[3], ws[0]}, transposeBytes(data, ws, []int{1, 2, 3, 0}), wq, 0)
	last, act := n, int8(actNone)
	if slices.Equal(full, want) {
		last, act = e.activation(n)
	}
	name := last.Result(0).Name()
	y := e.op(opTransposeConv, name, x.typ, full, transposeConvOptions(paddingValid, w.strides, act), e.ints(full...), k, x, bias)
	if !slices.Equal(full, want) {
		if full[1] < w.pads[0]+want[1] || full[2] < w.pads[1]+want[2] {
			return errors.New("output padding beyond what the kernel reaches")
		}
		y = e.op(opSlice, name, x.typ, want, options{}, y, e.ints(0, w.pads[0], w.pads[1], 0), e.ints(want...))
	}
	e.defineImage(last.Result(0), y)
	return nil
}

// mostWhole bounds the elements of weights that are written with the zeros of groups and dilations.
const mostWhole = 1 << 22

// whole are weights of a transposed convolution, [inputs, outputs of a group, height, width], with zeros where groups and dilations have
// none: the target knows neither.
func whole(data []byte, s []int, q *quant, groups int, dilations [2]int) ([]byte, []int, *quant, error) {
	if groups == 1 && dilations == [2]int{1, 1} {
		return data, s, q, nil
	}
	r := []int{s[0], s[1] * groups, (s[2]-1)*dilations[0] + 1, (s[3]-1)*dilations[1] + 1}
	n := r[0] * r[1] * r[2] * r[3]
	if n > mostWhole {
		return nil, nil, nil, errors.New("groups or dilations of weights that are too large to be written with zeros between them; the target has none")
	}
	size := len(data) / (s[0] * s[1] * s[2] * s[3])
	to := make([]byte, n*size)
	from := 0
	for i := range s[0] {
		first := i / (s[0] / groups) * s[1]
		for o := range s[1] {
			for y := range s[2] {
				for x := range s[3] {
					at := ((i*r[1]+first+o)*r[2]+y*dilations[0])*r[3] + x*dilations[1]
					copy(to[at*size:][:size], data[from:])
					from += size
				}
			}
		}
	}
	if q != nil && len(q.scale) > 1 { // one scale for each output of a group
		q = &quant{scale: slices.Repeat(q.scale, groups), zero: slices.Repeat(q.zero, groups), axis: q.axis}
	}
	return to, r, q, nil
}

// lowestFloat is what MaxPool pads with.
const lowestFloat = -3.4028234663852886e38

func lowerPool(e *emitter, n *ir.Node) error {
	var kernel []int
	for _, k := range n.Ints("kernel_shape") {
		kernel = append(kernel, int(k))
	}
	w, err := e.windowOf(n, kernel)
	switch {
	case err != nil:
		return err
	case w.dilations != [2]int{1, 1}:
		return errors.New("dilations; the target has none")
	case n.NumResults() > 1 && n.Result(1) != nil && n.Result(1).NumUses() > 0:
		return errors.New("indices")
	}
	// With ceil_mode the last windows may reach beyond the pads.
	for i := range 2 {
		if beyond := (w.out[i]-1)*w.strides[i] + w.kernel[i] - w.in[i] - w.pads[i] - w.pads[2+i]; beyond > 0 {
			if n.Is("AveragePool") && n.Int("count_include_pad", 0) != 0 {
				return errors.New("ceil_mode with count_include_pad")
			}
			w.pads[2+i] += beyond
		}
	}
	x := e.picture(n)
	code, padding := opMaxPool, int8(paddingValid)
	if n.Is("AveragePool") {
		code = opAveragePool
		switch include := n.Int("count_include_pad", 0) != 0; {
		case w.pads == [4]int{}:
		case include:
			p := w
			p.out = [2]int{-1, -1} // never SAME, which leaves the pads out of the mean
			x, padding = e.padded(x, &p, 0)
		case w.same():
			padding = paddingSame
		default:
			return e.averageWithPads(n, x, &w)
		}
	} else {
		x, padding = e.padded(x, &w, lowestFloat)
	}
	out := []int{x.shape[0], w.out[0], w.out[1], x.shape[3]}
	e.defineImage(n.Result(0), e.op(code, n.Result(0).Name(), x.typ, out, poolOptions(padding, w.strides, w.kernel), x))
	return nil
}

// kernelOf are the weights of a convolution, as integers in a region; axis is that of the outputs.
func (e *emitter) kernelOf(n *ir.Node, axis int) (*ir.Tensor, []int, *quant, error) {
	if e.region == nil {
		t, s, err := e.weights(n.Operand(1))
		return t, s, nil, err
	}
	t, q, err := e.intWeights(n.Operand(1), axis)
	if err != nil {
		return nil, nil, nil, err
	}
	s := e.shape(n.Operand(1))
	if len(s) == 3 {
		s = []int{s[0], s[1], 1, s[2]}
	}
	return t, s, q, nil
}

// biasFor is the bias of a convolution of x.
func (e *emitter) biasFor(n *ir.Node, outputs int, x *tensor, w *quant) (*tensor, error) {
	if e.region == nil {
		return e.bias(n, 2, outputs)
	}
	return e.intBias(n.Operand(2), outputs, x.quant, w)
}

// kernel writes weights; axis is that of the outputs in the target's order.
func (e *emitter) kernel(base string, shape []int, data []byte, q *quant, axis int) *tensor {
	if q == nil {
		return e.literal(base, typeFloat32, shape, data)
	}
	t := e.tensor(base, typeInt8, shape)
	t.data, t.quant = data, &quant{q.scale, q.zero, axis}
	return t
}

// averageWithPads is the mean over padded windows times what makes it the mean of the elements that are there.
func (e *emitter) averageWithPads(n *ir.Node, x *tensor, w *window) error {
	if e.region != nil {
		return errors.New("a mean over what is not padding")
	}
	p := *w
	p.out = [2]int{-1, -1}
	x, padding := e.padded(x, &p, 0)
	name, out := n.Result(0).Name(), []int{x.shape[0], w.out[0], w.out[1], x.shape[3]}
	y := e.op(opAveragePool, name, x.typ, out, poolOptions(padding, w.strides, w.kernel), x)
	factor := make([]float32, 0, w.out[0]*w.out[1])
	inside := func(i, o int) int {
		from := o*w.strides[i] - w.pads[i]
		return min(from+w.kernel[i], w.in[i]) - max(from, 0)
	}
	for oy := range w.out[0] {
		for ox := range w.out[1] {
			factor = append(factor, float32(w.kernel[0]*w.kernel[1])/float32(max(1, inside(0, oy)*inside(1, ox))))
		}
	}
	f := e.literal("factor", typeFloat32, []int{1, w.out[0], w.out[1], 1}, ir.AsBytes(factor))
	e.defineImage(n.Result(0), e.op(opMul, name, x.typ, out, binaryOptions(opMul, actNone), y, f))
	return nil
}

// lowerGlobal reduces the spatial axes, wherever they lie.
func lowerGlobal(code opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		w := e.view(n.Operand(0))
		var axes []int
		for i, a := range w.perm {
			if a > 1 {
				axes = append(axes, i)
			}
		}
		e.result(n, code, w.perm, reducerOptions(true), w.t, e.ints(axes...))
		return nil
	}
}
