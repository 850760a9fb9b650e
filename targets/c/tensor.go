package c

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// block is the number of channels that lie side by side in a blocked tensor.
const block = 8

// ctype is a type of elements.
type ctype struct {
	name string // in C
	size int
}

var ( // never changed
	float  = ctype{"float", 4}
	int64s = ctype{"int64_t", 8}
	int32s = ctype{"int32_t", 4}
	int8s  = ctype{"int8_t", 1}
	uint8s = ctype{"uint8_t", 1}
	int16s = ctype{"int16_t", 2}
)

// typeOf is the type in C of elements of type d. Halves are computed in 32 bits, bools are bytes.
func typeOf(d ir.DType) (ctype, error) {
	switch d {
	case ir.Float32, ir.Float16:
		return float, nil
	case ir.Int64:
		return int64s, nil
	case ir.Int32:
		return int32s, nil
	case ir.Int16:
		return int16s, nil
	case ir.Int8:
		return int8s, nil
	case ir.Uint8, ir.Bool:
		return uint8s, nil
	}
	return ctype{}, fmt.Errorf("elements of type %s", d)
}

// buffer is memory that tensors share.
type buffer struct {
	name   string
	typ    ctype
	data   []byte // of a constant
	param  string // of the interface: its name in C
	output bool
	elems  int
	first  int // the step that writes it, the last that reads it
	last   int
	offset int // in the arena or the weights, in bytes
}

// tensor is a value in memory: plain, which is row-major, or blocked, which is [N, ceil(C/8), H, W, 8] for a shape [N, C, H, W].
// The two last axes (or H and W) may be surrounded by a halo of zeros for convolutions to read, so that they need no care at borders.
type tensor struct {
	buf     *buffer
	shape   []int
	blocked bool
	halo    [4]int  // top, left, bottom, right
	stiff   bool    // others share the memory and rely on there being no halo
	fill    int     // what the halo holds, of bytes
	parent  *tensor // blocked: the tensor is some blocks of channels of that one
	at      int     // the first block there
}

func product(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

func blocksOf(channels int) int { return (channels + block - 1) / block }

// root is the tensor whose memory it is.
func (t *tensor) root() *tensor {
	for t.parent != nil {
		t = t.parent
	}
	return t
}

// hasHalo reports whether there is a halo.
func (t *tensor) hasHalo() bool { return t.root().halo != [4]int{} }

// grow asks for a halo. It is false if the tensor cannot have one.
func (t *tensor) grow(h [4]int) bool {
	r := t.root()
	for i := range h {
		if h[i] > r.halo[i] && (r.stiff || r.buf.param != "" || r.buf.data != nil) {
			return false
		}
	}
	for i := range h {
		r.halo[i] = max(r.halo[i], h[i])
	}
	return true
}

// stored are the dimensions that loops over the tensor have: the shape, or the five of a blocked tensor.
func (t *tensor) stored() []int {
	if !t.blocked {
		return t.shape
	}
	return []int{t.shape[0], blocksOf(t.shape[1]), t.shape[2], t.shape[3], block}
}

// strides are those of the stored dimensions, in elements.
func (t *tensor) strides() []int {
	r := t.root()
	dims := slices.Clone(r.stored())
	at := len(dims) - 2
	if t.blocked {
		at--
	}
	if r.halo != [4]int{} {
		dims[at] += r.halo[0] + r.halo[2]
		dims[at+1] += r.halo[1] + r.halo[3]
	}
	return rowMajor(dims)
}

func rowMajor(dims []int) []int {
	s, n := make([]int, len(dims)), 1
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = n
		n *= dims[i]
	}
	return s
}

// start is the place of the first element in the buffer.
func (t *tensor) start() int {
	s := t.strides()
	n := 0
	if h := t.root().halo; h != [4]int{} {
		at := len(s) - 2
		if t.blocked {
			at--
		}
		n = h[0]*s[at] + h[1]*s[at+1]
	}
	for ; t.parent != nil; t = t.parent {
		n += t.at * s[1]
	}
	return n
}

// size is the number of elements of the memory, halo included.
func (t *tensor) size() int {
	dims := slices.Clone(t.stored())
	at := len(dims) - 2
	if t.blocked {
		at--
	}
	if t.halo != [4]int{} {
		dims[at] += t.halo[0] + t.halo[2]
		dims[at+1] += t.halo[1] + t.halo[3]
	}
	return product(dims)
}
