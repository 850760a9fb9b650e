package gemm

import (
	"unsafe"
)

// A tile is the argument of a micro-kernel: C[rows, cols] (+)= A[rows, k] * B[k, cols], then biases and clamp. Strides are in
// bytes. The assembly reads the fields at fixed offsets (see _gen/tile.go and TestTileLayout).
//
// A kernel of height h reads h rows of A and of rowBias, and whole vectors of B and colBias, whatever the number of rows and
// columns that exist; only those are read from and written to C.
type tile struct {
	k           int
	a           unsafe.Pointer
	aRow, aStep int // from one row, and one k, to the next
	b           unsafe.Pointer
	bStep       int
	offsets     *int // if not nil, row p of B begins at b plus offsets[p] bytes, or, with onA, column p of A at a plus that
	c           unsafe.Pointer
	cRow        int
	rows        int
	mask        uint64 // lanes of the last vector of a row of C that exist; ignored by kernels that are not masked
	rowBias     unsafe.Pointer
	colBias     unsafe.Pointer
	flags       uint64
	lo, hi      [8]byte // clamp bounds, of the element's type
	single      bool    // A has one row in all
	onA         bool    // offsets are A's
	edge        [maxEdge]byte
}

const (
	flagAccumulate = 1 << iota // add to C rather than overwrite it
	flagClamp                  // limit to lo..hi; NaN stays
)

// maxEdge is the size of the largest tile of kernels that cannot mask, in bytes.
const maxEdge = 6 * 64

// A microkernel is a family of tiles of one arithmetic. Sizes are in elements; those of the integer kernels are 32-bit groups
// of two 16-bit or four 8-bit integers.
type microkernel struct {
	name   string
	elem   int   // bytes of an element
	rows   []int // heights, tallest first
	lanes  int   // columns in a vector; a tile has at most two vectors
	masked bool  // stores part of a vector
	group  int   // integers in an element; 1 for floating point

	strided, tabulated, tabulatedA [][2]func(*byte) // by index into rows, by vectors less one
	plain                          func(t *tile, rows, cols int)
}

func (m *microkernel) mr() int { return m.rows[0] }
func (m *microkernel) nr() int { return 2 * m.lanes }

// run computes rows by cols elements, at most mr by nr.
func (m *microkernel) run(t *tile, rows, cols int) {
	if m.plain != nil {
		m.plain(t, rows, cols)
		return
	}
	h := len(m.rows) - 1
	// The kernel for one row sums in another order than the rest, so it runs only where every kernel set would choose it.
	for m.rows[h] < rows || (m.rows[h] == 1 && !t.single) {
		h--
	}
	vecs := (cols - 1) / m.lanes // less one
	kernels := m.strided
	switch {
	case t.offsets != nil && t.onA:
		kernels = m.tabulatedA
	case t.offsets != nil:
		kernels = m.tabulated
	}
	f := kernels[h][vecs]
	t.rows = rows
	rest := cols - vecs*m.lanes
	t.mask = 1<<rest - 1
	if m.masked || rest == m.lanes {
		f((*byte)(unsafe.Pointer(t)))
		return
	}
	m.runEdge(t, f, rows, cols)
}

// runEdge computes a tile with a partial vector in a buffer.
func (m *microkernel) runEdge(t *tile, f func(*byte), rows, cols int) {
	c, cRow := t.c, t.cRow
	width, pitch := cols*m.elem, m.nr()*m.elem
	row := func(i int) []byte { return unsafe.Slice((*byte)(unsafe.Add(c, i*cRow)), width) }
	if t.flags&flagAccumulate != 0 {
		for i := range rows {
			copy(t.edge[i*pitch:], row(i))
		}
	}
	t.c, t.cRow = unsafe.Pointer(&t.edge), pitch
	f((*byte)(unsafe.Pointer(t)))
	for i := range rows {
		copy(row(i), t.edge[i*pitch:])
	}
	t.c, t.cRow = c, cRow
}

// setClamp sets the bounds of the clamp that a flag turns on.
func setClamp[T element](t *tile, lo, hi T) {
	*(*T)(unsafe.Pointer(&t.lo)) = lo
	*(*T)(unsafe.Pointer(&t.hi)) = hi
}
