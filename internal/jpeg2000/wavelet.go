package jpeg2000

// sample is the type in which a wavelet transform computes: int32 for the reversible 5-3, float32 for the irreversible 9-7.
type sample interface{ int32 | float32 }

// lifting is a step of a transform: it changes the low-pass coefficients by their high-pass neighbours a and b, or the other way
// round. Neighbours beyond the ends are mirrored (F.3.7).
type lifting[T sample] struct {
	low  bool
	step func(dst, a, b []T)
}

// wavelet is an inverse transform of one dimension by lifting (F.3.8). A line of one coefficient is no matter of filters: it stays
// as it is at an even place, and is halved at an odd one (F.3.6).
type wavelet[T sample] struct {
	lowScale, highScale T
	steps               []lifting[T]
}

// reversible is the 5-3 filter (F.3.8.1, equations F-5 and F-6).
func reversible() wavelet[int32] {
	return wavelet[int32]{1, 1, []lifting[int32]{
		{true, func(dst, a, b []int32) {
			for i := range dst {
				dst[i] -= (a[i] + b[i] + 2) >> 2
			}
		}},
		{false, func(dst, a, b []int32) {
			for i := range dst {
				dst[i] += (a[i] + b[i]) >> 1
			}
		}},
	}}
}

// irreversible is the 9-7 filter (F.3.8.2) with the parameters of Table F.4.
func irreversible() wavelet[float32] {
	lift := func(low bool, c float32) lifting[float32] {
		return lifting[float32]{low, func(dst, a, b []float32) {
			for i := range dst {
				dst[i] -= float32(c * (a[i] + b[i]))
			}
		}}
	}
	const k = 1.230174104914001
	return wavelet[float32]{k, 1 / k, []lifting[float32]{
		lift(true, 0.443506852043971),
		lift(false, 0.882911075530934),
		lift(true, -0.052980118572961),
		lift(false, -1.586134342059924),
	}}
}

// inverse transforms n vectors, of which the first ones are low-pass and the others high-pass; odd says that the first place is
// one of a high-pass coefficient. at gives vector i.
func (w *wavelet[T]) inverse(n, low int, odd bool, at func(i int) []T) {
	if n == 1 {
		if odd {
			for x, v := 0, at(0); x < len(v); x++ {
				v[x] /= 2
			}
		}
		return
	}
	if w.lowScale != w.highScale {
		for i := range n {
			s := w.highScale
			if i < low {
				s = w.lowScale
			}
			for x, v := 0, at(i); x < len(v); x++ {
				v[x] *= s
			}
		}
	}
	high := n - low
	for _, l := range w.steps {
		// Neighbours of low-pass coefficient i are i-1 and i of the high-pass ones, or i and i+1 behind an odd place; for the others
		// it is the other way round.
		first, count, other, others := 0, low, low, high
		if !l.low {
			first, count, other, others = low, high, 0, low
		}
		left := 0
		if l.low != odd {
			left = -1
		}
		for i := range count {
			a, b := max(0, min(others-1, i+left)), max(0, min(others-1, i+left+1))
			l.step(at(first+i), at(other+a), at(other+b))
		}
	}
}

// columns is how many columns are transformed at a time, so that they stay in the cache.
const columns = 32

// synthesize is the inverse transform of all levels of a component in place (F.3.1, F.3.2), rows first.
func synthesize[T sample](k *tileComponent, data []T, w wavelet[T]) {
	stride := k.area.w()
	var line []T
	for r := 1; r < len(k.resolutions); r++ {
		a, below := k.resolutions[r].area, k.resolutions[r-1].area
		if a.empty() {
			continue
		}
		width, height := a.w(), a.h()
		line = zeroed(line, max(width, height*columns))
		for y := range height {
			row := data[y*stride:][:width]
			w.row(row, line[:width], below.w(), a.x0&1)
		}
		low, odd := below.h(), a.y0&1
		for x := 0; x < width; x += columns {
			n := min(columns, width-x)
			for y := range height {
				copy(line[y*n:][:n], data[y*stride+x:][:n])
			}
			w.inverse(height, low, odd == 1, func(i int) []T { return line[i*n:][:n] })
			for i := range height {
				copy(data[place(i, low, odd)*stride+x:][:n], line[i*n:][:n])
			}
		}
	}
}

// place is where coefficient i of a line belongs, of which the low-pass ones come first.
func place(i, low, odd int) int {
	if i < low {
		return 2*i + odd
	}
	return 2*(i-low) + 1 - odd
}

// row transforms a row; it needs a second one of the same length.
func (w *wavelet[T]) row(row, line []T, low, odd int) {
	n := len(row)
	if n == 1 {
		w.inverse(1, low, odd == 1, func(int) []T { return row })
		return
	}
	copy(line, row)
	l, h := line[:low], line[low:]
	if w.lowScale != w.highScale {
		for i := range l {
			l[i] *= w.lowScale
		}
		for i := range h {
			h[i] *= w.highScale
		}
	}
	for _, s := range w.steps {
		dst, other, left := l, h, odd-1
		if !s.low {
			dst, other, left = h, l, -odd
		}
		// All but the coefficients at the ends have both neighbours.
		from, to := -left, min(len(dst), len(other)-1-left)
		if from < to {
			s.step(dst[from:to], other[from+left:], other[from+left+1:])
		}
		for i := range min(from, len(dst)) {
			s.end(dst, other, i, left)
		}
		for i := max(from, to); i < len(dst); i++ {
			s.end(dst, other, i, left)
		}
	}
	for i := range l {
		row[2*i+odd] = l[i]
	}
	for i := range h {
		row[2*i+1-odd] = h[i]
	}
}

// end changes coefficient i by its neighbours left and left+1 places on, mirrored.
func (s lifting[T]) end(dst, other []T, i, left int) {
	a, b := max(0, min(len(other)-1, i+left)), max(0, min(len(other)-1, i+left+1))
	s.step(dst[i:i+1], other[a:a+1], other[b:b+1])
}
