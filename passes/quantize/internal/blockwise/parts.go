package blockwise

import (
	"runtime"
	"sync"

	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// layout is how steps, scales and zero points are laid out.
type layout uint8

const (
	// standard is that of DequantizeLinear: steps in the shape of the weight, scales and zero points in that shape with one place a block.
	standard layout = iota
	// padded is that of MatMulNBits and GatherBlockQuantized: rows of whole blocks, one for each output, and bytes of zero points that
	// begin anew with each row.
	padded
)

// parts are a quantized weight.
type parts struct{ steps, scales, zeros []byte }

// job computes the parts of one weight.
type job struct {
	m      *matrix
	spec   Spec
	layout layout
	signed bool // standard: steps are signed integers
	// solved are the steps and grids of a weight that needed more than itself to be quantized; nil: each block by itself.
	solved *solution
	fixed  *parts // of solved ones, which are not computed again
}

func (j *job) blocks() int { return (j.m.k + j.spec.Block - 1) / j.spec.Block }

// stepBytes and the following are the sizes of the parts.
func (j *job) stepBytes() int {
	if j.layout == padded {
		return j.m.n * j.blocks() * j.spec.Block * j.spec.Bits / 8
	}
	return (j.m.n*j.m.k*j.spec.Bits + 7) / 8
}

func (j *job) zeroBytes() int {
	switch {
	case j.spec.Symmetric:
		return 0
	case j.layout == padded:
		return j.m.n * ((j.blocks()*j.spec.Bits + 7) / 8)
	}
	return (j.m.n*j.blocks()*j.spec.Bits + 7) / 8
}

// run computes the parts. Blocks of one place along the inputs go to one worker, or rows of outputs where the parts are laid out by
// rows: so no two workers write the same byte.
func (j *job) run() (*parts, error) {
	v, err := j.m.open()
	if err != nil {
		return nil, err
	}
	size := j.m.t.DType().Bits() / 8
	p := &parts{make([]byte, j.stepBytes()), make([]byte, j.m.n*j.blocks()*size), make([]byte, j.zeroBytes())}
	pool := par.New(runtime.GOMAXPROCS(0))
	k, n, block := j.m.k, j.m.n, j.spec.Block
	if j.layout == padded || j.m.byRow {
		grain := 8 // rows: a multiple of 8 of them takes whole bytes
		pool.For(n, grain, func(_, lo, hi int) {
			w := j.worker(v, p)
			for r := lo; r < hi; r++ {
				for b := 0; b*block < k; b++ {
					w.do(r, b)
				}
			}
		})
		return p, nil
	}
	if block%8 != 0 { // places of two blocks may share a byte
		pool = nil
	}
	done := make([]grid, n*j.blocks())
	pool.For(j.blocks(), 1, func(_, lo, hi int) {
		w := j.worker(v, p)
		w.grids = done
		for b := lo; b < hi; b++ {
			for r := range n {
				w.do(r, b)
			}
		}
	})
	w := j.worker(v, p)
	for b := range j.blocks() { // bytes of zero points belong to several blocks
		for r := range n {
			w.zero(r, b, done[r*j.blocks()+b])
		}
	}
	return p, nil
}

// worker quantizes blocks one after the other.
type worker struct {
	*job
	v     *view
	p     *parts
	x     []float32
	q     []uint8
	round func(float32) float32
	grids []grid // where given, grids go here and zero points are stored later
}

func (j *job) worker(v *view, p *parts) *worker {
	return &worker{job: j, v: v, p: p, x: make([]float32, j.spec.Block), q: make([]uint8, j.spec.Block), round: j.m.scaleRounding()}
}

// do quantizes block b of output r.
func (w *worker) do(r, b int) {
	from := b * w.spec.Block
	x := w.x[:min(w.spec.Block, w.m.k-from)]
	q := w.q[:len(x)]
	var g grid
	if s := w.solved; s != nil {
		g = s.grids[r*w.blocks()+b]
		copy(q, s.steps[r*w.m.k+from:])
	} else {
		w.v.read(r, from, x)
		g = w.spec.choose(x, nil, w.round)
		w.spec.steps(x, g, q)
	}
	w.store(r, from, q)
	at := r*w.blocks() + b
	if w.layout == standard && !w.m.byRow {
		at = b*w.m.n + r
	}
	w.scale(at, g.scale)
	if w.grids != nil {
		w.grids[r*w.blocks()+b] = g
		return
	}
	w.zero(r, b, g)
}

// store writes steps.
func (w *worker) store(r, from int, q []uint8) {
	at, step := r*w.m.k+from, 1
	switch {
	case w.layout == padded:
		at = r*w.blocks()*w.spec.Block + from
	case !w.m.byRow:
		at, step = from*w.m.n+r, w.m.n
	}
	for _, s := range q {
		put(w.p.steps, at, w.spec.Bits, w.sign(s))
		at += step
	}
	if w.layout == padded { // what is behind the end of a row counts as zero
		for ; at < (r*w.blocks()+from/w.spec.Block+1)*w.spec.Block; at++ {
			put(w.p.steps, at, w.spec.Bits, uint8(w.spec.middle()))
		}
	}
}

// sign makes an unsigned step a signed one.
func (w *worker) sign(s uint8) uint8 {
	if w.signed {
		return (s - uint8(w.spec.middle())) & uint8(w.spec.levels()-1)
	}
	return s
}

func (w *worker) scale(at int, s float32) {
	switch w.m.t.DType() {
	case ir.Float16:
		putUint16(w.p.scales[2*at:], kernel.Float32ToFloat16(s))
	case ir.BFloat16:
		putUint16(w.p.scales[2*at:], kernel.Float32ToBFloat16(s))
	default:
		copy(w.p.scales[4*at:], ir.AsBytes([]float32{s}))
	}
}

func putUint16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }

// zero writes the zero point of block b of output r.
func (w *worker) zero(r, b int, g grid) {
	if w.spec.Symmetric {
		return
	}
	switch {
	case w.layout == padded:
		stride := (w.blocks()*w.spec.Bits + 7) / 8
		put(w.p.zeros[r*stride:], b, w.spec.Bits, uint8(g.zero))
	case w.m.byRow:
		put(w.p.zeros, r*w.blocks()+b, w.spec.Bits, w.sign(uint8(g.zero)))
	default:
		put(w.p.zeros, b*w.m.n+r, w.spec.Bits, w.sign(uint8(g.zero)))
	}
}

// put writes element i of packed integers, lowest bits first, into bytes that were zero.
func put(b []byte, i, bits int, v uint8) {
	if bits == 8 {
		b[i] = v
		return
	}
	b[i/2] |= v << (i % 2 * 4)
}

// cache keeps the parts of the weight that was quantized last: whoever writes a model asks for them one after the other.
type cache struct {
	mu  sync.Mutex
	job *job
	p   *parts
}

func (c *cache) get(j *job) (*parts, error) {
	if j.fixed != nil {
		return j.fixed, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.job == j {
		return c.p, nil
	}
	c.job, c.p = nil, nil
	p, err := j.run()
	if err == nil {
		c.job, c.p = j, p
	}
	return p, err
}

// part is the payload of one part, computed when somebody reads it.
type part struct {
	c    *cache
	j    *job
	take func(*parts) []byte
}

// Bytes computes the part.
func (p *part) Bytes() ([]byte, error) {
	all, err := p.c.get(p.j)
	if err != nil {
		return nil, err
	}
	return p.take(all), nil
}

// Strings is an error: the part is one of numbers.
func (p *part) Strings() ([]string, error) { return p.j.m.t.Strings() }

// Uncached marks the payload as one whose bytes are not kept.
func (*part) Uncached() {}

// tensor makes a part a tensor.
func (j *job) tensor(c *cache, d ir.DType, shape []int64, take func(*parts) []byte) *ir.Tensor {
	return ir.NewLazyTensor(d, shape, &part{c, j, take})
}
