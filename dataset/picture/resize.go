package picture

import "math"

// Pillow scales p to w by h pixels as Pillow's Image.resize does with BILINEAR, bit for bit (libImaging/Resample.c): a triangle
// filter that widens when the picture shrinks, one axis after the other, in fixed point.
func (p *Picture) Pillow(w, h int) *Picture {
	if w != p.W {
		p = p.wide(w)
	}
	if h != p.H {
		p = p.high(h)
	}
	return p
}

// wide scales the rows.
func (p *Picture) wide(w int) *Picture {
	q := &Picture{W: w, H: p.H, C: p.C, Pix: make([]byte, 0, w*p.H*p.C)}
	f := filters(p.W, w)
	for y := range p.H {
		for _, k := range f {
			for c := range p.C {
				q.Pix = append(q.Pix, k.sum(p.Pix[(y*p.W+k.first)*p.C+c:], p.C))
			}
		}
	}
	return q
}

// high scales the columns.
func (p *Picture) high(h int) *Picture {
	q := &Picture{W: p.W, H: h, C: p.C, Pix: make([]byte, 0, p.W*h*p.C)}
	row := p.W * p.C
	for _, k := range filters(p.H, h) {
		for x := range row {
			q.Pix = append(q.Pix, k.sum(p.Pix[k.first*row+x:], row))
		}
	}
	return q
}

// filter is what one pixel of the result is made of.
type filter struct {
	first  int
	weight []int64 // in units of 2^-precision
}

const precision = 32 - 8 - 2

// filters are those of each pixel along an axis.
func filters(from, to int) []filter {
	scale := float64(from) / float64(to)
	support := max(scale, 1)
	r := make([]filter, to)
	for i := range r {
		centre := (float64(i) + 0.5) * scale
		lo := max(int(centre-support+0.5), 0)
		hi := min(int(centre+support+0.5), from)
		w := make([]float64, hi-lo)
		sum := 0.0
		for k := range w {
			w[k] = max(1-math.Abs((float64(k+lo)-centre+0.5)/support), 0)
			sum += w[k]
		}
		r[i] = filter{lo, make([]int64, len(w))}
		for k := range w {
			r[i].weight[k] = int64(0.5 + w[k]/sum*(1<<precision))
		}
	}
	return r
}

// sum is the weighted sum of values that lie step apart, rounded.
func (f *filter) sum(pix []byte, step int) byte {
	v, at := int64(1)<<(precision-1), 0
	for _, w := range f.weight {
		v += int64(pix[at]) * w
		at += step
	}
	return byte(min(max(v>>precision, 0), 255))
}

// OpenCV scales p to w by h pixels as OpenCV's resize does with INTER_LINEAR on bytes: between the four neighbours of a point
// whatever the scale, weights of eleven bits (modules/imgproc/src/resize.cpp).
func (p *Picture) OpenCV(w, h int) *Picture {
	if w == p.W && h == p.H {
		return p
	}
	xs, ys := neighbours(p.W, w), neighbours(p.H, h)
	q := &Picture{W: w, H: h, C: p.C, Pix: make([]byte, w*h*p.C)}
	for y, v := range ys {
		for x, u := range xs {
			for c := range p.C {
				row := func(y int) int32 {
					r := p.Pix[y*p.W*p.C:]
					return int32(r[u.lo*p.C+c])*u.w0 + int32(r[u.hi*p.C+c])*u.w1
				}
				a, b := row(v.lo), row(v.hi)
				q.Pix[(y*w+x)*p.C+c] = byte(((v.w0*(a>>4))>>16 + (v.w1*(b>>4))>>16 + 2) >> 2)
			}
		}
	}
	return q
}

// between is two neighbours and their weights in units of 2^-11.
type between struct {
	lo, hi int
	w0, w1 int32
}

func neighbours(from, to int) []between {
	scale := float64(from) / float64(to)
	r := make([]between, to)
	for i := range r {
		f := float32((float64(i)+0.5)*scale - 0.5)
		lo := int(math.Floor(float64(f)))
		f -= float32(lo)
		switch {
		case lo < 0:
			lo, f = 0, 0
		case lo >= from-1:
			lo, f = from-1, 0
		}
		r[i] = between{lo, min(lo+1, from-1), int32(math.RoundToEven(float64((1 - f) * 2048))), int32(math.RoundToEven(float64(f * 2048)))}
	}
	return r
}
