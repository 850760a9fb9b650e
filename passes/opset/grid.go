package opset

import "github.com/onnxopt/onnxopt/ir"

// gridNamesUp: version 20 renamed two modes.
func gridNamesUp(s *site) {
	switch s.str("mode") {
	case "bilinear":
		s.n.SetAttr(ir.StringAttr("mode", "linear"))
	case "bicubic":
		s.n.SetAttr(ir.StringAttr("mode", "cubic"))
	}
}

func gridNamesDown(s *site) {
	if r := s.needRank(s.in(0)); s.why == "" && r != 4 {
		s.refuse("sampling of %d spatial axes came with opset 20", r-2)
		return
	}
	switch s.str("mode") {
	case "linear":
		s.n.SetAttr(ir.StringAttr("mode", "bilinear"))
	case "cubic":
		s.n.SetAttr(ir.StringAttr("mode", "bicubic"))
	}
}

// gridSampleDown gathers the neighbours of each point.
func gridSampleDown(s *site) {
	mode, padding, align := s.str("mode"), s.str("padding_mode"), s.int("align_corners") != 0
	if mode == "bicubic" {
		s.refuse("bicubic sampling is not spelled out")
		return
	}
	s.tolerant()
	x, grid := s.in(0), s.in(1)
	d := s.needDType(x)
	if s.why != "" {
		return
	}
	w := ir.Float32
	if d == ir.Float64 {
		w = d
	}
	f := func(v float64) *ir.Value { return s.number(w, v) }
	xf, gf := s.cast(x, w), s.cast(grid, w)
	n, c, h, wd := s.dim(x, 0), s.dim(x, 1), s.dim(x, 2), s.dim(x, 3)
	coordinate := func(i int64, size *ir.Value) *ir.Value {
		g := s.squeeze(s.slice(gf, 3, i, i+1, 1), 3)
		fs := s.cast(s.squeeze(size, 0), w)
		last := s.op("Sub", fs, f(1))
		if align {
			g = s.op("Mul", s.op("Div", s.op("Add", g, f(1)), f(2)), last)
		} else {
			g = s.op("Div", s.op("Sub", s.op("Mul", s.op("Add", g, f(1)), fs), f(1)), f(2))
		}
		switch padding {
		case "border":
			g = s.clamp(g, f(0), last)
		case "reflection":
			g = s.reflect(g, fs, w, align)
		}
		return g
	}
	gx, gy := coordinate(0, wd), coordinate(1, h)
	image := s.keepEmpty(xf, s.concat(0, n, c, s.op("Mul", h, wd)))
	points := s.op("Mul", s.dim(grid, 1), s.dim(grid, 2))
	fetch := func(px, py *ir.Value) *ir.Value { // both whole numbers [N, H, W]
		lastX, lastY := s.op("Sub", s.cast(s.squeeze(wd, 0), w), f(1)), s.op("Sub", s.cast(s.squeeze(h, 0), w), f(1))
		cx, cy := s.clamp(px, f(0), lastX), s.clamp(py, f(0), lastY)
		at := s.op("Add", s.op("Mul", s.cast(cy, ir.Int64), wd), s.cast(cx, ir.Int64))
		at = s.op("Expand", s.keepEmpty(at, s.concat(0, n, s.vec(1), points)), s.concat(0, n, c, points))
		v := s.opa("GatherElements", attrs(ir.IntAttr("axis", 2)), image, at)
		if padding == "zeros" {
			in := s.op("And", s.op("Equal", cx, px), s.op("Equal", cy, py))
			v = s.op("Where", s.keepEmpty(in, s.concat(0, n, s.vec(1), points)), v, f(0))
		}
		return v
	}
	flat := func(v *ir.Value) *ir.Value { return s.keepEmpty(v, s.concat(0, n, s.vec(1), points)) }
	var y *ir.Value
	if mode == "nearest" {
		y = fetch(s.op("Round", gx), s.op("Round", gy))
	} else {
		x0, y0 := s.op("Floor", gx), s.op("Floor", gy)
		x1, y1 := s.op("Add", x0, f(1)), s.op("Add", y0, f(1))
		bx, by := flat(s.op("Sub", gx, x0)), flat(s.op("Sub", gy, y0))
		ax, ay := s.op("Sub", f(1), bx), s.op("Sub", f(1), by)
		top := s.op("Add", s.op("Mul", ax, fetch(x0, y0)), s.op("Mul", bx, fetch(x1, y0)))
		low := s.op("Add", s.op("Mul", ax, fetch(x0, y1)), s.op("Mul", bx, fetch(x1, y1)))
		y = s.op("Add", s.op("Mul", ay, top), s.op("Mul", by, low))
	}
	y = s.keepEmpty(y, s.concat(0, n, c, s.dim(grid, 1), s.dim(grid, 2)))
	s.replace(s.cast(y, d))
}

// clamp is v within bounds; a NaN becomes the lower one, so that it can be an index.
func (s *site) clamp(v, lo, hi *ir.Value) *ir.Value {
	v = s.op("Where", s.op("Greater", v, lo), v, lo)
	return s.op("Where", s.op("Less", v, hi), v, hi)
}

// reflect folds coordinates back at the borders: the centres of the outer pixels with align, else their edges.
func (s *site) reflect(v, size *ir.Value, w ir.DType, align bool) *ir.Value {
	lo, span := s.number(w, -0.5), size
	if align {
		lo, span = s.number(w, 0), s.op("Sub", size, s.number(w, 1))
	}
	period := s.op("Mul", span, s.number(w, 2))
	t := s.op("Abs", s.op("Sub", v, lo))
	t = s.op("Sub", t, s.op("Mul", s.op("Floor", s.op("Div", t, period)), period))
	t = s.op("Where", s.op("Greater", t, span), s.op("Sub", period, t), t)
	return s.op("Add", t, lo)
}

// affineGridDown multiplies the corners of a grid from -1 to 1 with theta.
func affineGridDown(s *site) {
	s.tolerant()
	theta, size := s.in(0), s.in(1)
	d := s.needDType(theta)
	l := s.shape(size)
	if len(l) != 1 || !l[0].IsStatic() || l[0].Size < 4 || l[0].Size > 5 {
		s.refuse("whether it makes a grid of two or of three axes is not known")
	}
	if s.why != "" {
		return
	}
	k := l[0].Size - 2
	at := func(i int64) *ir.Value { return s.slice(size, 0, i, i+1, 1) }
	var dims []*ir.Value // spatial, the outer one first
	for i := range k {
		dims = append(dims, at(2+i))
	}
	grid := s.concat(0, dims...)
	parts := []*ir.Value{}
	for i := k - 1; i >= 0; i-- { // x first
		n := s.squeeze(dims[i], 0)
		f := s.cast(n, d)
		var step, start *ir.Value
		if s.int("align_corners") != 0 {
			// A single place is in the middle.
			last, one := s.op("Sub", f, s.number(d, 1)), s.number(d, 1)
			start, step = s.op("Neg", s.op("Min", last, one)), s.op("Div", s.number(d, 2), s.op("Max", last, one))
		} else {
			step = s.op("Div", s.number(d, 2), f)
			start = s.op("Add", s.number(d, -1), s.op("Div", step, s.number(d, 2)))
		}
		line := s.op("Add", start, s.op("Mul", s.cast(s.op("Range", s.scalar64(0), n, s.scalar64(1)), d), step))
		axes := []int64{}
		for a := range k + 1 {
			if a != i {
				axes = append(axes, a)
			}
		}
		parts = append(parts, s.op("Expand", s.unsqueeze(line, axes...), s.concat(0, grid, s.vec(1))))
	}
	parts = append(parts, s.op("Expand", s.number(d, 1), s.concat(0, grid, s.vec(1))))
	base := s.reshape(s.concat(-1, parts...), s.vec(1, -1, k+1))
	y := s.op("MatMul", base, s.transpose(theta, 0, 2, 1))
	s.replace(s.keepEmpty(y, s.concat(0, at(0), grid, s.vec(k))))
}
