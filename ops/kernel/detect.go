package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// nonMaxSuppressionOp selects boxes by descending score and drops those that overlap a selected one by more than a threshold.
// boxes [batch, n, 4], scores [batch, classes, n]; the result holds rows (batch, class, box).
func nonMaxSuppressionOp(c *Call) ([]ir.Datum, error) {
	var in [2][]float32
	var shapes [2][]int64
	for i := range in {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if t.Rank() != 3 {
			return nil, c.badOperand(i, t)
		}
		if in[i], err = floats32(t); err != nil {
			return nil, err
		}
		shapes[i] = t.Shape()
	}
	batch, n, classes := int(shapes[0][0]), int(shapes[0][1]), int(shapes[1][1])
	if shapes[0][2] != 4 || shapes[1][0] != shapes[0][0] || shapes[1][2] != shapes[0][1] {
		return nil, fmt.Errorf("boxes of shape %v with scores of shape %v", shapes[0], shapes[1])
	}
	limit, _, err := c.scalarInt(2)
	if err != nil {
		return nil, err
	}
	iou, _, err := c.scalarFloat(3)
	if err != nil {
		return nil, err
	}
	floor, hasFloor, err := c.scalarFloat(4)
	if err != nil {
		return nil, err
	}
	center := c.int("center_point_box", 0) != 0
	rows := []int64{}
	for b := range batch {
		boxes := in[0][b*n*4 : (b+1)*n*4]
		for k := range classes {
			scores := in[1][(b*classes+k)*n : (b*classes+k+1)*n]
			var kept []int
			for _, i := range values[float32](scores).order(0, n, 1, true) {
				if int64(len(kept)) >= limit || hasFloor && !(scores[i] > float32(floor)) {
					break
				}
				if !slices.ContainsFunc(kept, func(j int) bool { return overlap(boxes[4*i:], boxes[4*j:], center) > float32(iou) }) {
					kept = append(kept, i)
				}
				if err := c.tick(16 * (len(kept) + 1)); err != nil {
					return nil, err
				}
			}
			for _, i := range kept {
				rows = append(rows, int64(b), int64(k), int64(i))
			}
		}
	}
	return one(ir.TensorOf(rows, int64(len(rows)/3), 3), nil)
}

// overlap is the intersection of two boxes over their union. Boxes are two corners in any order, or centre and size.
func overlap(a, b []float32, center bool) float32 {
	ax1, ay1, ax2, ay2 := corners(a, center)
	bx1, by1, bx2, by2 := corners(b, center)
	w, h := min(ax2, bx2)-max(ax1, bx1), min(ay2, by2)-max(ay1, by1)
	if w <= 0 || h <= 0 {
		return 0
	}
	inter := float32(w * h)
	areas := float32((ax2-ax1)*(ay2-ay1)) + float32((bx2-bx1)*(by2-by1))
	if areas <= 0 {
		return 0
	}
	return inter / (areas - inter)
}

func corners(b []float32, center bool) (x1, y1, x2, y2 float32) {
	if center { // x, y, width, height
		w, h := float32(b[2]/2), float32(b[3]/2) // a quotient by a power of two may be fused like a product
		return b[0] - w, b[1] - h, b[0] + w, b[1] + h
	}
	return min(b[1], b[3]), min(b[0], b[2]), max(b[1], b[3]), max(b[0], b[2])
}

// rois reads X [N, C, H, W], the regions [R, width] and the image that each belongs to.
func rois(c *Call, width int64) (x, regions []float64, shape []int64, image []int64, err error) {
	t, err := c.Need(0)
	if err != nil {
		return
	}
	r, err := c.Need(1)
	if err != nil {
		return
	}
	if t.Rank() != 4 || r.Rank() != 2 || r.Shape()[1] != width {
		return nil, nil, nil, nil, c.badOperand(1, r)
	}
	if x, err = floats(t); err != nil {
		return
	}
	if regions, err = floats(r); err != nil {
		return
	}
	n := int(r.Shape()[0])
	if width == 4 {
		if image, _, err = c.intsOperand(2); err != nil {
			return
		}
	} else {
		for i := range n {
			image = append(image, truncate(regions[i*int(width)]))
		}
	}
	if len(image) != n {
		return nil, nil, nil, nil, fmt.Errorf("%d image indices for %d regions", len(image), n)
	}
	for _, b := range image {
		if b < 0 || b >= t.Shape()[0] {
			return nil, nil, nil, nil, fmt.Errorf("image index %d of %d", b, t.Shape()[0])
		}
	}
	return x, regions, t.Shape(), image, nil
}

// roiAlignOp averages (or takes the greatest of) bilinear samples in each bin of each region (He et al. 2017).
func roiAlignOp(c *Call) ([]ir.Datum, error) {
	x, regions, shape, image, err := rois(c, 4)
	if err != nil {
		return nil, err
	}
	oh, ow := c.int("output_height", 1), c.int("output_width", 1)
	out := []int64{int64(len(image)), shape[1], oh, ow}
	r, err := alloc[float64](c, out)
	if err != nil {
		return nil, err
	}
	scale, ratio := float64(c.float("spatial_scale", 1)), int(c.int("sampling_ratio", 0))
	half := c.Opset >= 16 && c.str("coordinate_transformation_mode", "half_pixel") == "half_pixel"
	greatest := c.str("mode", "avg") == "max"
	h, w, at := int(shape[2]), int(shape[3]), 0
	for i, img := range image {
		box := regions[i*4 : i*4+4]
		offset := 0.0
		if half {
			offset = 0.5
		}
		x1, y1 := float64(box[0]*scale)-offset, float64(box[1]*scale)-offset
		rw, rh := float64(box[2]*scale)-offset-x1, float64(box[3]*scale)-offset-y1
		if !half {
			rw, rh = max(rw, 1), max(rh, 1)
		}
		binW, binH := rw/float64(ow), rh/float64(oh)
		nx, ny := ratio, ratio
		if ratio <= 0 {
			nx, ny = int(max(0, math.Ceil(binW))), int(max(0, math.Ceil(binH)))
		}
		if !(rw < 1<<20 && rh < 1<<20) || nx > 1<<20 || ny > 1<<20 {
			return nil, errors.New("a region is too large")
		}
		for ch := range int(shape[1]) {
			plane := x[(int(img)*int(shape[1])+ch)*h*w:][:h*w]
			for py := range int(oh) {
				for px := range int(ow) {
					b := bin{y1 + float64(float64(py)*binH), x1 + float64(float64(px)*binW), binH, binW, ny, nx}
					if r[at], err = b.value(c, plane, h, w, greatest); err != nil {
						return nil, err
					}
					at++
				}
			}
		}
	}
	t, _ := c.Need(0)
	return one(convertFloats(c, t.DType(), out, r))
}

// bin is a part of a region, sampled at ny by nx points.
type bin struct {
	y, x, height, width float64
	ny, nx              int
}

// value is the mean of the samples of a plane, or the greatest of their terms.
func (b bin) value(c *Call, plane []float64, h, w int, greatest bool) (float64, error) {
	sum, best := 0.0, math.Inf(-1)
	for iy := range b.ny {
		y := b.y + float64((float64(iy)+0.5)*b.height)/float64(b.ny)
		for ix := range b.nx {
			t := bilinear(plane, h, w, y, b.x+float64((float64(ix)+0.5)*b.width)/float64(b.nx))
			sum += t[0] + t[1] + t[2] + t[3]
			best = max(best, t[0], t[1], t[2], t[3])
		}
		if err := c.tick(16 * b.nx); err != nil {
			return 0, err
		}
	}
	switch n := b.ny * b.nx; {
	case n == 0:
		return 0, nil
	case greatest:
		return best, nil
	default:
		return sum / float64(n), nil
	}
}

// bilinear gives the four weighted neighbours of a point; those of a point beyond the edge by more than one element are 0.
func bilinear(plane []float64, h, w int, y, x float64) (t [4]float64) {
	if !(y >= -1 && y <= float64(h) && x >= -1 && x <= float64(w)) || h == 0 || w == 0 {
		return t
	}
	y, x = max(y, 0), max(x, 0)
	y0, x0 := int(y), int(x)
	y1, x1 := y0+1, x0+1
	if y0 >= h-1 {
		y0, y1, y = h-1, h-1, float64(h-1)
	}
	if x0 >= w-1 {
		x0, x1, x = w-1, w-1, float64(w-1)
	}
	ly, lx := y-float64(y0), x-float64(x0)
	t[0] = float64(float64((1-ly)*(1-lx)) * plane[y0*w+x0])
	t[1] = float64(float64((1-ly)*lx) * plane[y0*w+x1])
	t[2] = float64(float64(ly*(1-lx)) * plane[y1*w+x0])
	t[3] = float64(float64(ly*lx) * plane[y1*w+x1])
	return t
}

// maxRoiPoolOp takes the greatest element of each bin of each region, whose rows are (image, x1, y1, x2, y2).
func maxRoiPoolOp(c *Call) ([]ir.Datum, error) {
	x, regions, shape, image, err := rois(c, 5)
	if err != nil {
		return nil, err
	}
	pooled := c.Attr("pooled_shape").Ints()
	if len(pooled) != 2 {
		return nil, fmt.Errorf("pooled_shape %v", pooled)
	}
	out := []int64{int64(len(image)), shape[1], pooled[0], pooled[1]}
	r, err := alloc[float64](c, out)
	if err != nil {
		return nil, err
	}
	scale, at := float64(c.float("spatial_scale", 1)), 0
	h, w := int(shape[2]), int(shape[3])
	// cut is the range of elements of bin p of n over a region from start to end.
	cut := func(start, end float64, p, n, size int) (int, int) {
		bin := max(end-start+1, 1) / float64(n)
		from, to := math.Floor(float64(float64(p)*bin))+start, math.Ceil(float64(float64(p+1)*bin))+start
		return int(max(0, min(from, float64(size)))), int(max(0, min(to, float64(size))))
	}
	for i, img := range image {
		var e [4]float64
		for k := range e {
			e[k] = math.Round(float64(regions[i*5+1+k] * scale))
		}
		for ch := range int(shape[1]) {
			plane := x[(int(img)*int(shape[1])+ch)*h*w:][:h*w]
			for py := range int(pooled[0]) {
				y0, y1 := cut(e[1], e[3], py, int(pooled[0]), h)
				for px := range int(pooled[1]) {
					x0, x1 := cut(e[0], e[2], px, int(pooled[1]), w)
					best := 0.0
					for yy := y0; yy < y1; yy++ {
						for xx := x0; xx < x1; xx++ {
							if v := plane[yy*w+xx]; v > best || yy == y0 && xx == x0 {
								best = v
							}
						}
					}
					r[at] = best
					at++
					if err := c.tick((y1-y0)*(x1-x0) + 1); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	t, _ := c.Need(0)
	return one(convertFloats(c, t.DType(), out, r))
}
