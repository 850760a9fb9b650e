package gemm

import (
	"fmt"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// Block sizes: a panel of A (mr by blockK) stays in the first-level cache while the block of B (blockK by blockN) streams from
// the second level. They are the same for all kernel sets, so that sets with fused multiply-add compute the same bits.
const (
	blockK = 256
	blockN = 512
)

// directRows is the largest number of rows of A for which an unpacked row-major B is read where it is. Packing moves each
// element of B once for m multiplications, and B is the large operand of a pointwise convolution: with 16 output channels,
// packing took as long as the product itself.
const directRows = 128

// element is what C consists of.
type element interface{ float32 | float64 | int32 }

// Options are what a product does beside multiplying. The zero value overwrites C, on one worker.
type Options[T element] struct {
	Accumulate bool // add to C
	RowBias    []T  // if not nil, added to the elements of each row: one for each row of C
	ColBias    []T  // if not nil, added to the elements of each column: one for each column of C
	Clamp      bool // limit the result to Lo..Hi; NaN stays. Relu is 0..+Inf.
	Lo, Hi     T
	Pool       *par.Pool // nil: one worker
	Scratch    []T       // used if at least [Scratch] long; allocated otherwise
}

// float32Best and the like are the kernels in use, fixed when the program starts.
var (
	float32Best = float32Kernels()[0]
	float64Best = float64Kernels()[0]
	intBest     = intKernels()[0]
)

func bestKernel[T float32 | float64]() *microkernel {
	if unsafe.Sizeof(*new(T)) == 4 {
		return float32Best
	}
	return float64Best
}

// Gemm computes C = A*B, or C += A*B, with the options' epilogue. C's columns must be contiguous and not overlap A or B.
func Gemm[T float32 | float64](c, a, b View[T], o Options[T]) {
	a.check("A")
	b.check("B")
	product(bestKernel[T](), c, operandA[T]{view: a}, operandB[T]{view: b}, o)
}

// GemmPackedA is [Gemm] with a packed left operand.
func GemmPackedA[T float32 | float64](c View[T], a *PackedA[T], b View[T], o Options[T]) {
	b.check("B")
	product(a.kernel, c, operandA[T]{packed: a}, operandB[T]{view: b}, o)
}

// GemmPackedB is [Gemm] with a packed right operand.
func GemmPackedB[T float32 | float64](c, a View[T], b *PackedB[T], o Options[T]) {
	a.check("A")
	product(b.kernel, c, operandA[T]{view: a}, operandB[T]{packed: b}, o)
}

// Scratch returns how many elements a product of these sizes uses at most with so many workers.
func Scratch[T float32 | float64](m, n, k, workers int) int {
	return scratchLen(bestKernel[T](), m, n, k, workers)
}

func scratchLen(kernel *microkernel, m, n, k, workers int) int {
	nr := kernel.nr()
	blocks := workers * min(k, blockK) * min(roundUp(n, nr), blockN)
	return kernel.mr()*k + max(blocks, wholeB(kernel, n, k, workers))
}

// wholeB returns the size of all of B packed where it is packed before the product, because there are too few blocks of columns
// to give each worker its own, or else zero.
func wholeB(kernel *microkernel, n, k, workers int) int {
	nr := kernel.nr()
	if workers > 1 && n < workers*4*nr {
		return roundUp(n, nr) * k
	}
	return 0
}

// Exactly one field of an operand is set.
type operandA[T element] struct {
	view   View[T]
	packed *PackedA[T]
}

type operandB[T element] struct {
	view   View[T]
	packed *PackedB[T]
}

// A job is a product in progress.
type job[T element] struct {
	kernel  *microkernel
	c       View[T]
	k       int
	a       operandA[T]
	tail    []T // the last rows of an unpacked A, packed, since kernels read their full height
	b       operandB[T]
	rowBias []T
	colBias []T
	direct  bool // read B where it is: it has too few uses to be worth packing
	o       *Options[T]
}

func product[T element](kernel *microkernel, c View[T], a operandA[T], b operandB[T], o Options[T]) {
	m, n := c.Rows, c.Cols
	am, ak, bk, bn := a.view.Rows, a.view.Cols, b.view.Rows, b.view.Cols
	if a.packed != nil {
		am, ak = a.packed.rows, a.packed.k
	}
	if b.packed != nil {
		bk, bn = b.packed.k, b.packed.cols
	}
	c.check("C")
	if am != m || bn != n || ak != bk || (c.ColStride != 1 && n > 1) || (c.RowStride < n && m > 1) {
		panic(fmt.Sprintf("gemm: %dx%d times %dx%d into %dx%d with strides %d, %d", am, ak, bk, bn, m, n, c.RowStride, c.ColStride))
	}
	if m == 0 || n == 0 {
		return
	}
	j := &job[T]{kernel: kernel, c: c, k: ak, a: a, b: b, o: &o}
	j.rowBias = padded(o.RowBias, m, kernel.mr(), "row")
	j.colBias = padded(o.ColBias, n, kernel.nr(), "column")
	scratch := o.Scratch
	workers := o.Pool.Workers()
	if b.packed == nil || a.packed == nil {
		if need := scratchLen(kernel, m, n, ak, workers); len(scratch) < need {
			scratch = make([]T, need)
		}
	}
	if rest := m % kernel.mr(); a.packed == nil && rest > 0 {
		j.tail, scratch = scratch[:kernel.mr()*ak], scratch[kernel.mr()*ak:]
		clear(j.tail)
		packPanelA(j.tail, kernel.mr(), a.view, m-rest)
	}
	j.run(scratch, workers)
}

// padded returns bias extended with zeros to a multiple of a tile's side, nil for nil.
func padded[T any](bias []T, n, side int, what string) []T {
	if bias == nil {
		return nil
	}
	if len(bias) < n {
		panic(fmt.Sprintf("gemm: %d elements of %s bias for %d", len(bias), what, n))
	}
	need := roundUp(n, side)
	if len(bias) >= need {
		return bias
	}
	p := make([]T, need)
	copy(p, bias[:n])
	return p
}

// run divides C into blocks, each the work of one worker from the first k to the last.
func (j *job[T]) run(scratch []T, workers int) {
	kernel, pool := j.kernel, j.o.Pool
	mr, nr := kernel.mr(), kernel.nr()
	m, n := j.c.Rows, j.c.Cols
	j.direct = j.b.packed == nil && j.b.view.ColStride == 1 && m <= directRows
	if j.b.packed == nil && !j.direct && wholeB(kernel, n, j.k, workers) > 0 {
		whole := scratch[:roundUp(n, nr)*j.k]
		panels := (n + nr - 1) / nr
		pool.For(panels, moveGrain(panels, nr*j.k, pool), func(_, lo, hi int) {
			packBlockB(whole[lo*nr*j.k:], kernel, j.b.view, 0, j.k, lo*nr, min(hi*nr, n))
		})
		j.b = operandB[T]{packed: &PackedB[T]{k: j.k, cols: n, kernel: kernel, data: whole}}
	}
	cols := min(blockN, roundUp((n+workers-1)/workers, nr))
	across := (n + cols - 1) / cols
	rows := m
	if (j.b.packed != nil || j.direct) && across < 4*workers && workers > 1 {
		rows = roundUp((m*across+4*workers-1)/(4*workers), mr)
	}
	down := (m + rows - 1) / rows
	each := min(j.k, blockK) * min(roundUp(n, nr), blockN)
	pool.For(across*down, 1, func(worker, lo, hi int) {
		var buffer []T
		if j.b.packed == nil {
			buffer = scratch[worker*each:][:each]
		}
		t := &tile{single: m == 1}
		setClamp(t, j.o.Lo, j.o.Hi)
		for x := lo; x < hi; x++ {
			j0, i0 := x/down*cols, x%down*rows
			j.block(t, buffer, i0, min(i0+rows, m), j0, min(j0+cols, n))
		}
	})
}

// block computes rows i0 to i1 and columns j0 to j1 of C. i0 and j0 begin tiles.
func (j *job[T]) block(t *tile, buffer []T, i0, i1, j0, j1 int) {
	mr, nr := j.kernel.mr(), j.kernel.nr()
	steps := blockK
	if j.b.packed != nil && j.c.Rows <= 4 {
		steps = max(j.k, 1) // a panel of B has one use: better to read it in one go
	}
	for p0 := 0; ; p0 += steps {
		p1 := min(p0+steps, j.k)
		j.packB(buffer, p0, p1, j0, j1)
		t.k = p1 - p0
		t.flags = 0
		if p0 > 0 || j.o.Accumulate {
			t.flags |= flagAccumulate
		}
		last := p1 == j.k
		if last && j.o.Clamp {
			t.flags |= flagClamp
		}
		for i := i0; i < i1; i += mr {
			j.setA(t, i, p0)
			for q := j0; q < j1; q += nr {
				j.setB(t, buffer, p0, p1, j0, q)
				t.rowBias, t.colBias = nil, nil
				if last && j.rowBias != nil {
					t.rowBias = unsafe.Pointer(&j.rowBias[i])
				}
				if last && j.colBias != nil {
					t.colBias = unsafe.Pointer(&j.colBias[q])
				}
				t.c = unsafe.Pointer(&j.c.Data[i*j.c.RowStride+q])
				t.cRow = j.c.RowStride * j.kernel.elem
				j.kernel.run(t, min(mr, i1-i), min(nr, j1-q))
			}
		}
		if last {
			return
		}
	}
}

// setA points the tile at row i of A from k = p on.
func (j *job[T]) setA(t *tile, i, p int) {
	mr, elem := j.kernel.mr(), j.kernel.elem
	switch {
	case j.k == 0: // a kernel reads nothing
		t.a = nil
		return
	case j.a.packed != nil:
		t.a, t.aRow, t.aStep = unsafe.Pointer(&j.a.packed.data[i*j.k+p*mr]), elem, mr*elem
	case i+mr > j.c.Rows:
		t.a, t.aRow, t.aStep = unsafe.Pointer(&j.tail[p*mr]), elem, mr*elem
	default:
		v := &j.a.view
		t.a, t.aRow, t.aStep = unsafe.Pointer(&v.Data[i*v.RowStride+p*v.ColStride]), v.RowStride*elem, v.ColStride*elem
	}
}

// packB packs rows p0 to p1 and columns j0 to j1 of B unless they are packed, or only their last panel if B is read directly.
func (j *job[T]) packB(buffer []T, p0, p1, j0, j1 int) {
	switch {
	case j.b.packed != nil:
		return
	case j.direct:
		j0 += (j1 - j0) / j.kernel.nr() * j.kernel.nr()
	}
	packBlockB(buffer, j.kernel, j.b.view, p0, p1, j0, j1)
}

// setB points the tile at column q of B, rows p0 to p1; buffer holds what packB left there for columns from j0 on.
func (j *job[T]) setB(t *tile, buffer []T, p0, p1, j0, q int) {
	nr := j.kernel.nr()
	t.b, t.bStep = nil, nr*j.kernel.elem
	switch {
	case j.k == 0: // a kernel reads nothing
	case j.b.packed != nil:
		t.b = unsafe.Pointer(&j.b.packed.data[q*j.k+p0*nr])
	case !j.direct:
		t.b = unsafe.Pointer(&buffer[(q-j0)*(p1-p0)])
	case q+nr <= j.c.Cols:
		v := &j.b.view
		t.b, t.bStep = unsafe.Pointer(&v.Data[p0*v.RowStride+q]), v.RowStride*j.kernel.elem
	default:
		t.b = unsafe.Pointer(&buffer[0])
	}
}
