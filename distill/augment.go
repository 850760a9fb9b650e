package distill

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/onnxopt/onnxopt/ir"
)

// Augment says how pictures are varied: inputs of rank 4, whose channels are the last axis where that has at most four elements and the
// first does not, else the first. The teacher sees what the student sees (Beyer et al., arXiv 2106.05237).
type Augment struct {
	Flip  bool    // half of them are mirrored, left and right
	Crop  int     // they move by up to so many pixels along both axes; the border is repeated
	Mixup float64 // α of the Beta distribution by which pairs are blended (Zhang et al., arXiv 1710.09412), 0: none
}

func (a *Augment) active() bool { return a.Flip || a.Crop > 0 || a.Mixup > 0 }

// apply varies the pictures of a batch in place, and the distributions of its labels, rows of classes, where there are some.
func (a *Augment) apply(in map[string]ir.Datum, names []string, labels []float32, r *rand.Rand) error {
	if !a.active() {
		return nil
	}
	rows := 0
	any := false
	for _, name := range names {
		t, ok := in[name].(*ir.Tensor)
		if !ok || t.Rank() == 0 {
			continue
		}
		rows = int(t.Shape()[0])
		any = any || t.Rank() == 4
	}
	if !any {
		return fmt.Errorf("no input is a picture: flip, crop and mixup are for inputs of rank 4")
	}
	type move struct {
		flip   bool
		dy, dx int
	}
	moves, partner, blend := make([]move, rows), r.Perm(rows), float32(1)
	for i := range moves {
		m := &moves[i]
		m.flip = a.Flip && r.IntN(2) == 1
		if a.Crop > 0 {
			m.dy, m.dx = r.IntN(2*a.Crop+1)-a.Crop, r.IntN(2*a.Crop+1)-a.Crop
		}
	}
	if a.Mixup > 0 {
		blend = float32(beta(a.Mixup, r))
	}
	for _, name := range names {
		t, ok := in[name].(*ir.Tensor)
		if !ok || t.Rank() != 4 {
			continue
		}
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		size := len(b) / rows
		p := layoutOf(t.Shape(), size)
		moved := make([]byte, len(b))
		for i, m := range moves {
			p.move(moved[i*size:][:size], b[i*size:][:size], m.dy, m.dx, m.flip)
		}
		t = ir.NewTensor(t.DType(), t.Shape(), moved)
		if a.Mixup > 0 {
			v, err := ir.Elements[float32](t)
			if err != nil || t.DType() != ir.Float32 {
				return fmt.Errorf("mixup blends float32, and input %q is %s", name, t.DType())
			}
			t = ir.TensorOf(mixed(v, partner, blend), t.Shape()...)
		}
		in[name] = t
	}
	if a.Mixup > 0 && labels != nil {
		copy(labels, mixed(labels, partner, blend))
	}
	return nil
}

// mixed blends each row with that of its partner.
func mixed(v []float32, partner []int, blend float32) []float32 {
	n := len(v) / max(len(partner), 1)
	r := make([]float32, len(v))
	for i, k := range partner {
		dst, a, b := r[i*n:][:n], v[i*n:][:n], v[k*n:][:n]
		for j := range dst {
			dst[j] = blend*a[j] + (1-blend)*b[j]
		}
	}
	return r
}

// beta draws from Beta(a, a): by Jöhnk's method where a is at most 1, else from two Gamma variables.
func beta(a float64, r *rand.Rand) float64 {
	if a <= 1 {
		for {
			x, y := math.Pow(r.Float64(), 1/a), math.Pow(r.Float64(), 1/a)
			if s := x + y; s <= 1 && s > 0 {
				return x / s
			}
		}
	}
	gamma := func() float64 { // Marsaglia and Tsang, A simple method for generating gamma variables, 2000
		d := a - 1./3
		c := 1 / math.Sqrt(9*d)
		for {
			x := r.NormFloat64()
			v := 1 + c*x
			if v <= 0 {
				continue
			}
			v = v * v * v
			if math.Log(1-r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
				return d * v
			}
		}
	}
	x, y := gamma(), gamma()
	return x / (x + y)
}

// layout is how the bytes of a picture lie: planes of rows of pixels of so many bytes.
type layout struct{ planes, height, width, pixel int }

func layoutOf(shape []int64, size int) layout {
	p := layout{planes: int(shape[1]), height: int(shape[2]), width: int(shape[3])}
	if shape[3] <= 4 && shape[1] > 4 {
		p = layout{planes: 1, height: int(shape[1]), width: int(shape[2])}
	}
	p.pixel = size / max(p.planes*p.height*p.width, 1)
	return p
}

// move shifts a picture by dy and dx, repeating its border, and mirrors it then if flip is set.
func (p *layout) move(dst, src []byte, dy, dx int, flip bool) {
	for c := range p.planes {
		for y := range p.height {
			from := (c*p.height + min(max(y+dy, 0), p.height-1)) * p.width
			to := (c*p.height + y) * p.width
			for x := range p.width {
				u := x
				if flip {
					u = p.width - 1 - x
				}
				at := from + min(max(u+dx, 0), p.width-1)
				copy(dst[(to+x)*p.pixel:][:p.pixel], src[at*p.pixel:])
			}
		}
	}
}
