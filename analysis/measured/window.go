package measured

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// window is where a convolution reads: attributes of the node, one entry for each spatial dimension.
type window struct {
	kernel, strides, dilations []int
	pads                       []int // begins, then ends
	auto                       string
}

func windowOf(n *ir.Node, kernel []int64) window {
	w := window{auto: n.Str("auto_pad", "NOTSET")}
	d := len(kernel)
	list := func(name string, count int, def int) []int {
		r := make([]int, count)
		for i := range r {
			r[i] = def
		}
		for i, v := range n.Ints(name) {
			if i < count {
				r[i] = int(v)
			}
		}
		return r
	}
	for _, k := range kernel {
		w.kernel = append(w.kernel, int(k))
	}
	w.strides, w.dilations, w.pads = list("strides", d, 1), list("dilations", d, 1), list("pads", 2*d, 0)
	return w
}

// apart says why the windows of a ConvTranspose overlap or leave gaps; nil if each element of the result comes from one place.
func (w window) apart(n *ir.Node) error {
	for i, k := range w.kernel {
		if w.strides[i] != k || w.dilations[i] != 1 {
			return fmt.Errorf("its windows overlap or leave gaps")
		}
	}
	for _, p := range w.pads {
		if p != 0 {
			return fmt.Errorf("its result is cut at the edges")
		}
	}
	if w.auto != "NOTSET" && w.auto != "VALID" || len(n.Ints("output_shape")) > 0 || len(n.Ints("output_padding")) > 0 || n.Int("group", 1) != 1 {
		return fmt.Errorf("it has groups, or the shape of its result is stated")
	}
	return nil
}

// begin is the padding before dimension i for an input and an output of these sizes.
func (w window) begin(i, in, out int) int {
	switch w.auto {
	case "SAME_UPPER", "SAME_LOWER":
		total := max((out-1)*w.strides[i]+(w.kernel[i]-1)*w.dilations[i]+1-in, 0)
		if w.auto == "SAME_LOWER" {
			return total - total/2
		}
		return total / 2
	case "VALID":
		return 0
	}
	return w.pads[i]
}

// rows reads positions of a value as rows of a Linear. It is made once for the shapes of a sample.
type rows struct {
	l *Linear
	// Count is the number of positions.
	count   int
	x       []float32
	in, out []int // spatial sizes
	cin     int   // channels of x
	begin   []int
	inSize  int
	outSize int
}

// rowsOf prepares the input x of the node, whose result has the shape out.
func (l *Linear) rowsOf(x *ir.Tensor, out []int64) (*rows, error) {
	v, err := Floats(x)
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	r := &rows{l: l, x: v}
	if v == nil {
		return nil, fmt.Errorf("its input is of type %s", x.DType())
	}
	if l.kind != conv && l.kind != convTranspose {
		if len(s) == 0 || int(s[len(s)-1]) != l.In {
			return nil, fmt.Errorf("its input has shape %v", s)
		}
		r.count = len(v) / l.In
		return r, nil
	}
	if len(s) != len(l.shape) || len(out) != len(s) {
		return nil, fmt.Errorf("its input has shape %v", s)
	}
	r.cin, r.inSize, r.outSize = int(s[1]), 1, 1
	want := l.In
	if l.kind == conv {
		want = int(l.shape[1]) * l.Groups
	}
	if r.cin != want {
		return nil, fmt.Errorf("its input has shape %v", s)
	}
	for i, d := range s[2:] {
		r.in, r.out = append(r.in, int(d)), append(r.out, int(out[i+2]))
		r.begin = append(r.begin, l.window.begin(i, int(d), int(out[i+2])))
		r.inSize *= int(d)
		r.outSize *= int(out[i+2])
	}
	r.count = int(s[0]) * r.outSize
	if l.kind == convTranspose {
		r.count = int(s[0]) * r.inSize
	}
	return r, nil
}

// fill writes the row at position p of group g to dst, In elements long.
func (r *rows) fill(p, g int, dst []float32) {
	l := r.l
	switch l.kind {
	case conv:
		r.fillWindow(p, g, dst)
	case convTranspose:
		n, at := p/r.inSize, p%r.inSize
		for c := range l.In {
			dst[c] = r.x[(n*l.In+c)*r.inSize+at]
		}
	default:
		copy(dst, r.x[p*l.In:(p+1)*l.In])
	}
}

// fillWindow is fill for a convolution. Dimensions are seen as three, the first ones of size 1 where there are fewer.
func (r *rows) fillWindow(p, g int, dst []float32) {
	l := r.l
	d := len(r.in)
	size, kernel, step, start := [3]int{1, 1, 1}, [3]int{1, 1, 1}, [3]int{1, 1, 1}, [3]int{}
	n, at := p/r.outSize, p%r.outSize
	for i := d - 1; i >= 0; i-- {
		k := i + 3 - d
		size[k], kernel[k], step[k] = r.in[i], l.window.kernel[i], l.window.dilations[i]
		start[k] = at%r.out[i]*l.window.strides[i] - r.begin[i]
		at /= r.out[i]
	}
	channels := int(l.shape[1])
	o := 0
	for c := range channels {
		x := r.x[(n*r.cin+g*channels+c)*r.inSize:][:r.inSize]
		for a := range kernel[0] {
			ia := start[0] + a*step[0]
			for b := range kernel[1] {
				ib := start[1] + b*step[1]
				if ia < 0 || ia >= size[0] || ib < 0 || ib >= size[1] {
					clear(dst[o : o+kernel[2]])
					o += kernel[2]
					continue
				}
				line := x[(ia*size[1]+ib)*size[2]:][:size[2]]
				for e := range kernel[2] {
					if ie := start[2] + e*step[2]; ie >= 0 && ie < size[2] {
						dst[o] = line[ie]
					} else {
						dst[o] = 0
					}
					o++
				}
			}
		}
	}
}

// targets reads positions of a result with the shape that the node gives.
type targets struct {
	l       *Linear
	y       []float32
	m       int // channels of y
	outSize int
	out, in []int
}

// targetsOf prepares a value with the layout of the node's result, of which it may have more channels.
func (l *Linear) targetsOf(y *ir.Tensor, in []int64) (*targets, error) {
	v, err := Floats(y)
	if err != nil {
		return nil, err
	}
	s := y.Shape()
	t := &targets{l: l, y: v, outSize: 1}
	if v == nil || len(s) == 0 {
		return nil, fmt.Errorf("what it should give is of type %s", y.DType())
	}
	if l.kind != conv && l.kind != convTranspose {
		t.m = int(s[len(s)-1])
		return t, nil
	}
	if len(s) != len(l.shape) {
		return nil, fmt.Errorf("what it should give has shape %v", s)
	}
	t.m = int(s[1])
	for i, d := range s[2:] {
		t.outSize *= int(d)
		t.out, t.in = append(t.out, int(d)), append(t.in, int(in[i+2]))
	}
	return t, nil
}

// add adds the rows at positions to dst, Groups*Out elements for each. Keep lists which channels of the value are those of the node; nil: all.
func (t *targets) add(places, keep []int, dst []float64) {
	l := t.l
	width := l.Groups * l.Out
	channel := func(j int) int {
		if keep != nil {
			return keep[j]
		}
		return j
	}
	switch l.kind {
	case conv:
		for j := range width {
			c := channel(j)
			for i, p := range places {
				dst[i*width+j] += float64(t.y[(p/t.outSize*t.m+c)*t.outSize+p%t.outSize])
			}
		}
	case convTranspose:
		for i, p := range places {
			t.addWindow(p, channel, dst[i*width:][:width])
		}
	default:
		for i, p := range places {
			row := t.y[p*t.m : (p+1)*t.m]
			for j := range width {
				dst[i*width+j] += float64(row[channel(j)])
			}
		}
	}
}

// addWindow adds what a transposed convolution makes of position p.
func (t *targets) addWindow(p int, channel func(int) int, dst []float64) {
	l := t.l
	inSize := 1
	for _, d := range t.in {
		inSize *= d
	}
	n, at := p/inSize, p%inSize
	per := l.perChannel()
	for k := range per { // the place in the window, and with it in the result
		place, stride, a, q := 0, 1, at, k
		for i := len(t.in) - 1; i >= 0; i-- {
			place += (a%t.in[i]*l.window.strides[i] + q%l.window.kernel[i]) * stride
			a, q = a/t.in[i], q/l.window.kernel[i]
			stride *= t.out[i]
		}
		for j := range int(l.shape[1]) {
			dst[j*per+k] += float64(t.y[(n*t.m+channel(j))*t.outSize+place])
		}
	}
}
