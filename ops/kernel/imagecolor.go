package kernel

import "image"

// jpegPixels converts as libjpeg does: colours at half the resolution are interpolated with weights 3/4 and 1/4 along each axis
// ("fancy upsampling"), and the conversion has 16 bits behind the point.
func jpegPixels(rgb []uint8, m *image.YCbCr) {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	cb, cr := jpegPlane(m.Cb, m, w, h), jpegPlane(m.Cr, m, w, h)
	for y := range h {
		for x := range w {
			i := y*w + x
			l, b, r := int32(m.Y[m.YOffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)]), int32(cb[i])-128, int32(cr[i])-128
			rgb[3*i] = clamp8(l + (91881*r+1<<15)>>16)
			rgb[3*i+1] = clamp8(l + (-22554*b-46802*r+1<<15)>>16)
			rgb[3*i+2] = clamp8(l + (116130*b+1<<15)>>16)
		}
	}
}

func clamp8(x int32) uint8 { return uint8(max(0, min(255, x))) }

// jpegPlane is a plane of colours at full resolution.
func jpegPlane(p []uint8, m *image.YCbCr, w, h int) []uint8 {
	sx, sy := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio420:
		sx, sy = 2, 2
	case image.YCbCrSubsampleRatio422:
		sx = 2
	case image.YCbCrSubsampleRatio440:
		sy = 2
	case image.YCbCrSubsampleRatio411:
		sx = 4
	case image.YCbCrSubsampleRatio410:
		sx, sy = 4, 2
	}
	pw, ph := (w+sx-1)/sx, (h+sy-1)/sy
	r := make([]uint8, w*h)
	fancy := sx <= 2 && sy <= 2 && (sx == 1 || pw > 2)
	sums := make([]int32, pw)
	for y := range h {
		row := p[y/sy*m.CStride:][:pw]
		dst := r[y*w : (y+1)*w]
		if !fancy {
			for x := range dst {
				dst[x] = row[x/sx]
			}
			continue
		}
		other := row
		if k := y/sy + 2*(y%2) - 1; sy == 2 && k >= 0 && k < ph {
			other = p[k*m.CStride:][:pw]
		}
		for x := range sums {
			if sums[x] = int32(row[x]); sy == 2 {
				sums[x] = 3*int32(row[x]) + int32(other[x])
			}
		}
		stretch(dst, sums, sx, sy, y%2)
	}
	return r
}

// stretch writes a row from sums down the columns, which are 4 times the colour where sy is 2. Halves are rounded in turn up and
// down, so that there is no drift.
func stretch(dst []uint8, sums []int32, sx, sy, odd int) {
	for x := range dst {
		if sx == 1 {
			if sy == 1 {
				dst[x] = uint8(sums[x])
			} else {
				dst[x] = uint8((sums[x] + 1 + int32(odd)) >> 2)
			}
			continue
		}
		k := x / 2
		next := k + 2*(x%2) - 1
		if next < 0 || next >= len(sums) {
			next = k
		}
		s := 3*sums[k] + sums[next]
		switch {
		case sy == 2 && x%2 == 0:
			dst[x] = uint8((s + 8) >> 4)
		case sy == 2:
			dst[x] = uint8((s + 7) >> 4)
		case x%2 == 0:
			dst[x] = uint8((s + 1) >> 2)
		default:
			dst[x] = uint8((s + 2) >> 2)
		}
	}
}

// webPixels converts as libwebp does: colours at half the resolution are interpolated with weights 9, 3, 3 and 1 of 16, rounded in
// two steps, and the conversion has 6 bits behind the point.
func webPixels(rgb []uint8, m *image.YCbCr) {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	pw, ph := (w+1)/2, (h+1)/2
	for y := range h {
		for x := range w {
			// The colours lie between the pixels 2k and 2k+1: near is the one of the pixel, the others are across.
			kx, ky := x/2, y/2
			ox, oy := max(0, min(pw-1, kx+2*(x%2)-1)), max(0, min(ph-1, ky+2*(y%2)-1))
			l := int32(m.Y[y*m.YStride+x])
			u := webMix(m.Cb, m.CStride, kx, ky, ox, oy)
			v := webMix(m.Cr, m.CStride, kx, ky, ox, oy)
			i := 3 * (y*w + x)
			l = l * 19077 >> 8
			rgb[i] = clamp8((l + v*26149>>8 - 14234) >> 6)
			rgb[i+1] = clamp8((l - u*6419>>8 - v*13320>>8 + 8708) >> 6)
			rgb[i+2] = clamp8((l + u*33050>>8 - 17685) >> 6)
		}
	}
}

// webMix is the colour between (kx, ky), the nearest, and its neighbours in column ox and row oy.
func webMix(p []uint8, stride, kx, ky, ox, oy int) int32 {
	at := func(x, y int) int32 { return int32(p[y*stride+x]) }
	near, side, across, far := at(kx, ky), at(ox, ky), at(kx, oy), at(ox, oy)
	if ox == kx { // at the edge
		return (3*near + across + 2) >> 2
	}
	diagonal := (near + side + across + far + 8 + 2*(side+across)) >> 3
	return (diagonal + near) >> 1
}
