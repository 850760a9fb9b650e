package kernel

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
)

// errOtherJPEG is what the decoder below leaves to the one of the standard library: progressive files, four components and the like.
var errOtherJPEG = errors.New("another kind of JPEG")

var errBadJPEG = errors.New("a JPEG file is damaged")

// decodeJPEG decodes baseline JPEG (ITU-T T.81) with the inverse transform of libjpeg ("islow"), so that the bytes are the same as
// those of most other programs.
func decodeJPEG(b []byte) (image.Image, error) {
	d := &jpegDecoder{}
	m, err := d.decode(b)
	if errors.Is(err, errOtherJPEG) {
		return jpeg.Decode(bytes.NewReader(b))
	}
	return m, err
}

type jpegDecoder struct {
	w, h     int
	quant    [4]*[64]int32
	codes    [2][4]*jpegCode // for the first coefficient, for the others
	parts    []jpegPart
	interval int
	data     []byte // of the scan
	bits     uint32
	count    int // valid bits in bits
}

// jpegPart is a component.
type jpegPart struct {
	id, h, v, table int
	codes           [2]int
	stride, last    int // last first coefficient
	plane           []uint8
}

// jpegCode is a canonical Huffman code: the codes of each length are a range.
type jpegCode struct {
	first, count, at [17]int
	values           []byte
}

func (d *jpegDecoder) decode(b []byte) (image.Image, error) {
	for b = b[2:]; len(b) >= 4; {
		if b[0] != 0xff {
			return nil, errBadJPEG
		}
		marker, n := b[1], int(b[2])<<8+int(b[3])
		if marker == 0xff { // fill
			b = b[1:]
			continue
		}
		if n < 2 || len(b) < 2+n {
			return nil, errBadJPEG
		}
		s := b[4 : 2+n]
		b = b[2+n:]
		var err error
		switch marker {
		case 0xc0, 0xc1:
			err = d.frame(s)
		case 0xc4:
			err = d.huffman(s)
		case 0xdb:
			err = d.tables(s)
		case 0xdd:
			if len(s) < 2 {
				return nil, errBadJPEG
			}
			d.interval = int(s[0])<<8 + int(s[1])
		case 0xda:
			d.data = b
			if err = d.scan(s); err != nil {
				return nil, err
			}
			return d.picture()
		case 0xee: // Adobe: perhaps no YCbCr
			err = errOtherJPEG
		default:
			if marker >= 0xc2 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc {
				err = errOtherJPEG
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errBadJPEG
}

func (d *jpegDecoder) frame(s []byte) error {
	if len(s) < 6 || len(s) < 6+3*int(s[5]) || d.parts != nil {
		return errBadJPEG
	}
	d.h, d.w = int(s[1])<<8+int(s[2]), int(s[3])<<8+int(s[4])
	if s[0] != 8 || s[5] != 1 && s[5] != 3 || d.h == 0 || d.w == 0 {
		return errOtherJPEG
	}
	for i := range int(s[5]) {
		p := s[6+3*i:]
		d.parts = append(d.parts, jpegPart{id: int(p[0]), h: int(p[1] >> 4), v: int(p[1] & 15), table: int(p[2])})
	}
	first := &d.parts[0]
	if len(d.parts) == 1 {
		first.h, first.v = 1, 1
	}
	for i, p := range d.parts {
		if p.table > 3 || i > 0 && (p.h != 1 || p.v != 1) || first.h < 1 || first.h > 2 || first.v < 1 || first.v > 2 {
			return errOtherJPEG
		}
		d.parts[i].stride = d.across() * p.h * 8
		d.parts[i].plane = make([]uint8, d.parts[i].stride*d.down()*p.v*8)
	}
	return nil
}

// across and down count the units that hold all components.
func (d *jpegDecoder) across() int { return (d.w + 8*d.parts[0].h - 1) / (8 * d.parts[0].h) }
func (d *jpegDecoder) down() int   { return (d.h + 8*d.parts[0].v - 1) / (8 * d.parts[0].v) }

func (d *jpegDecoder) tables(s []byte) error {
	for len(s) > 0 {
		if s[0]>>4 != 0 {
			return errOtherJPEG
		}
		if len(s) < 65 || s[0] > 3 {
			return errBadJPEG
		}
		q := &[64]int32{}
		for i, x := range s[1:65] {
			q[jpegOrder[i]] = int32(x)
		}
		d.quant[s[0]] = q
		s = s[65:]
	}
	return nil
}

func (d *jpegDecoder) huffman(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 || s[0]>>4 > 1 || s[0]&15 > 3 {
			return errBadJPEG
		}
		h, code, n := &jpegCode{}, 0, 0
		for l := 1; l <= 16; l++ {
			h.first[l], h.count[l], h.at[l] = code, int(s[l]), n
			n += int(s[l])
			code = (code + int(s[l])) * 2
		}
		if len(s) < 17+n {
			return errBadJPEG
		}
		h.values = s[17 : 17+n]
		d.codes[s[0]>>4][s[0]&15] = h
		s = s[17+n:]
	}
	return nil
}

// scan reads the one scan of all components.
func (d *jpegDecoder) scan(s []byte) error {
	if d.parts == nil || len(s) < 1 || len(s) < 4+2*len(d.parts) {
		return errBadJPEG
	}
	if int(s[0]) != len(d.parts) {
		return errOtherJPEG
	}
	for i := range d.parts {
		p := &d.parts[i]
		if int(s[1+2*i]) != p.id || s[2+2*i]>>4 > 3 || s[2+2*i]&15 > 3 || d.quant[p.table] == nil {
			return errBadJPEG
		}
		for k, t := range []int{int(s[2+2*i] >> 4), int(s[2+2*i] & 15)} {
			if p.codes[k] = t; d.codes[k][t] == nil {
				return errBadJPEG
			}
		}
	}
	across := d.across()
	for u := range across * d.down() {
		if d.interval > 0 && u > 0 && u%d.interval == 0 {
			if err := d.restart(); err != nil {
				return err
			}
		}
		for i := range d.parts {
			p := &d.parts[i]
			for k := range p.h * p.v {
				block, err := d.block(p)
				if err != nil {
					return err
				}
				at := (u/across*p.v+k/p.h)*8*p.stride + (u%across*p.h+k%p.h)*8
				inverseCosine(p.plane[at:], p.stride, block)
			}
		}
	}
	return nil
}

// restart skips to behind the next marker RSTn.
func (d *jpegDecoder) restart() error {
	d.bits, d.count = 0, 0
	for i := range d.parts {
		d.parts[i].last = 0
	}
	if len(d.data) < 2 || d.data[0] != 0xff || d.data[1]&0xf8 != 0xd0 {
		return errBadJPEG
	}
	d.data = d.data[2:]
	return nil
}

// take reads n bits. Beyond the data, where a marker ends it, they are zero.
func (d *jpegDecoder) take(n int) int {
	for d.count < n {
		x := byte(0)
		if len(d.data) > 0 {
			switch x = d.data[0]; {
			case x != 0xff:
				d.data = d.data[1:]
			case len(d.data) > 1 && d.data[1] == 0:
				d.data = d.data[2:]
			default:
				x = 0
			}
		}
		d.bits = d.bits<<8 | uint32(x)
		d.count += 8
	}
	d.count -= n
	return int(d.bits>>d.count) & (1<<n - 1)
}

// signed reads a number of n bits; the lower half of the codes stands for negative ones.
func (d *jpegDecoder) signed(n int) int {
	x := d.take(n)
	if n > 0 && x < 1<<(n-1) {
		x -= 1<<n - 1
	}
	return x
}

func (d *jpegDecoder) symbol(h *jpegCode) (int, error) {
	code := 0
	for l := 1; l <= 16; l++ {
		code = code<<1 | d.take(1)
		if k := code - h.first[l]; k >= 0 && k < h.count[l] {
			return int(h.values[h.at[l]+k]), nil
		}
	}
	return 0, errBadJPEG
}

// block reads the coefficients of a block in natural order, times their steps.
func (d *jpegDecoder) block(p *jpegPart) (*[64]int32, error) {
	r, q := &[64]int32{}, d.quant[p.table]
	n, err := d.symbol(d.codes[0][p.codes[0]])
	if err != nil || n > 15 {
		return nil, errBadJPEG
	}
	p.last += d.signed(n)
	r[0] = int32(p.last) * q[0]
	for k := 1; k < 64; k++ {
		s, err := d.symbol(d.codes[1][p.codes[1]])
		if err != nil {
			return nil, err
		}
		switch k += s >> 4; {
		case s == 0:
			return r, nil
		case k > 63:
			return nil, errBadJPEG
		case s&15 > 0:
			at := jpegOrder[k]
			r[at] = int32(d.signed(s&15)) * q[at]
		}
	}
	return r, nil
}

func (d *jpegDecoder) picture() (image.Image, error) {
	r := image.Rect(0, 0, d.w, d.h)
	y := d.parts[0]
	if len(d.parts) == 1 {
		return &image.Gray{Pix: y.plane, Stride: y.stride, Rect: r}, nil
	}
	ratio := [2][2]image.YCbCrSubsampleRatio{
		{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio440},
		{image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420},
	}[y.h-1][y.v-1]
	return &image.YCbCr{Y: y.plane, Cb: d.parts[1].plane, Cr: d.parts[2].plane, YStride: y.stride, CStride: d.parts[1].stride,
		SubsampleRatio: ratio, Rect: r}, nil
}

// jpegOrder is the natural place of each coefficient of the zigzag order.
var jpegOrder = [64]int{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// inverseCosine is the inverse transform of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with 13 bits behind the point, columns
// first, as in libjpeg. It writes 8 by 8 bytes.
func inverseCosine(dst []uint8, stride int, b *[64]int32) {
	var w [64]int32
	for i := range 8 {
		for k, x := range inverseLine([8]int32{b[i], b[i+8], b[i+16], b[i+24], b[i+32], b[i+40], b[i+48], b[i+56]}, 11) {
			w[k*8+i] = x
		}
	}
	for i := range 8 {
		for k, x := range inverseLine([8]int32(w[i*8:i*8+8]), 18) {
			dst[i*stride+k] = clamp8(x + 128)
		}
	}
}

// inverseLine transforms eight values and rounds shift bits away.
func inverseLine(v [8]int32, shift int) (r [8]int32) {
	z := (v[2] + v[6]) * 4433
	t2, t3 := z-v[6]*15137, z+v[2]*6270
	t0, t1 := (v[0]+v[4])<<13, (v[0]-v[4])<<13
	even := [4]int32{t0 + t3, t1 + t2, t1 - t2, t0 - t3}
	z1, z2, z3, z4 := v[7]+v[1], v[5]+v[3], v[7]+v[3], v[5]+v[1]
	z5 := (z3 + z4) * 9633
	z1, z2, z3, z4 = z1*-7373, z2*-20995, z3*-16069+z5, z4*-3196+z5
	odd := [4]int32{v[1]*12299 + z1 + z4, v[3]*25172 + z2 + z3, v[5]*16819 + z2 + z4, v[7]*2446 + z1 + z3}
	half := int32(1) << (shift - 1)
	for i := range 4 {
		r[i] = (even[i] + odd[i] + half) >> shift
		r[7-i] = (even[i] - odd[i] + half) >> shift
	}
	return r
}
