package c

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// matrix is a product of matrices under translation: y[m, n] = sum over k of a[m, k] * b[k, n], in batches.
type matrix struct {
	m, n, k  int
	batch    []int // dimensions before the matrices of the result
	as, bs   []int // strides of a and b over them
	transB   bool
	w        []float32 // b, if constant, as [k][n]
	bias     []float32 // of each column; nil: none
	ops      fused
	a, b     *tensor
	constant bool
	at       *site
}

func lowerMatMul(b *builder, n *ir.Node) error {
	if m := b.mergedProduct(n); m != nil {
		m.product(b, n)
		return nil
	}
	if b.typ(n.Result(0)) != float {
		return errors.New("numbers that are no floats")
	}
	as, bs := b.shape(n.Operand(0)), b.shape(n.Operand(1))
	if len(as) < 2 {
		as = []int{1, as[0]}
	}
	if len(bs) < 2 {
		bs = []int{bs[0], 1}
	}
	p := &matrix{m: as[len(as)-2], k: as[len(as)-1], n: bs[len(bs)-1]}
	if len(bs) == 2 { // one matrix for all
		p.m, as = product(as[:len(as)-1]), []int{product(as[:len(as)-1]), p.k}
	}
	rank := max(len(as), len(bs)) - 2
	p.batch, p.as, p.bs = make([]int, rank), make([]int, rank), make([]int, rank)
	side := func(s []int, out []int) {
		full := append(slices.Repeat([]int{1}, rank+2-len(s)), s...)
		r := rowMajor(full)
		for i := range rank {
			p.batch[i] = max(p.batch[i], full[i])
			if full[i] > 1 {
				out[i] = r[i]
			}
		}
	}
	side(as, p.as)
	side(bs, p.bs)
	if b.constant(n.Operand(1)) != nil && rank == 0 {
		w, err := b.floats(n.Operand(1))
		if err != nil {
			return err
		}
		p.w = w
	}
	return b.matrix(n, p)
}

func lowerGemm(b *builder, n *ir.Node) error {
	if m := b.mergedProduct(n); m != nil {
		m.product(b, n)
		return nil
	}
	if b.typ(n.Result(0)) != float {
		return errors.New("numbers that are no floats")
	}
	as, bs := b.shape(n.Operand(0)), b.shape(n.Operand(1))
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	if n.Int("transA", 0) != 0 {
		return errors.New("transA")
	}
	p := &matrix{m: as[0], k: as[1], n: b.shape(n.Result(0))[1], transB: n.Int("transB", 0) != 0}
	if b.constant(n.Operand(1)) != nil {
		w, err := b.floats(n.Operand(1))
		if err != nil {
			return err
		}
		p.w = make([]float32, len(w))
		for i := range p.k {
			for j := range p.n {
				if p.transB {
					p.w[i*p.n+j] = alpha * w[j*p.k+i]
				} else {
					p.w[i*p.n+j] = alpha * w[i*bs[1]+j]
				}
			}
		}
		p.transB = false
	} else if alpha != 1 {
		return errors.New("alpha with weights that are no constants")
	}
	if c := n.Operand(2); c != nil {
		f, err := b.floats(c)
		s := b.shape(c)
		if err != nil || len(f) > 1 && (len(f) != p.n || s[len(s)-1] != p.n) {
			return errors.New("a summand that is no constant for each column")
		}
		p.bias = make([]float32, p.n)
		for i := range p.bias {
			p.bias[i] = beta * f[i%len(f)]
		}
	}
	return b.matrix(n, p)
}

// matrix appends the step of a product with what follows it.
func (b *builder) matrix(n *ir.Node, p *matrix) error {
	v := n.Result(0)
	if p.bias == nil { // an addition of a constant to each column
		if use, ok := v.OnlyUse(); ok && !v.IsOutput() && use.Node.Is("Add") && !b.done[use.Node] && use.Node.Graph() == v.Graph() {
			w := use.Node.Operand(1 - use.Index)
			if f, err := b.floats(w); err == nil && len(f) == p.n && len(b.shape(w)) > 0 && b.shape(w)[len(b.shape(w))-1] == p.n && equal(b.shape(use.Node.Result(0)), b.shape(v)) {
				p.bias = f
				b.done[use.Node] = true
				v = use.Node.Result(0)
			}
		}
	}
	p.ops = b.follow(v, p.geometry())
	p.a = b.flat(n.Operand(0))
	blocks := blocksOf(p.n)
	p.at = b.site(strings.TrimSpace(p.geometry()+" "+p.ops.describe()), false, []*ir.Value{p.ops.last}, p.tiling(b.vector()).choices(), p.tiling(b.vector()).cost)
	var adds []*tensor
	for _, op := range p.ops.ops {
		if op.add != nil {
			adds = append(adds, b.flat(op.add))
		}
	}
	y := b.alloc(p.ops.last.Name(), float, b.shape(p.ops.last), false)
	y.stiff = true
	b.define(p.ops.last, y)
	in := []*tensor{p.a}
	if p.w != nil {
		p.constant = true
		in = append(in, b.floatLiteral(n.Operand(1).Name(), packed(p.n, p.k, func(o, k int) float32 { return p.w[k*p.n+o] })))
	} else {
		p.b = b.flat(n.Operand(1))
		in = append(in, p.b)
	}
	if p.bias != nil {
		full := make([]float32, blocks*block)
		copy(full, p.bias)
		in = append(in, b.floatLiteral("bias", full))
	}
	in = append(in, adds...)
	s := b.add(in, []*tensor{y}, func(f *text, lanes int) { p.write(f, lanes, adds) })
	if !p.constant {
		s.scratch = &buffer{name: "panels", typ: float, elems: blocks * block * p.k}
	}
	return nil
}

// geometry describes the product but for what follows it.
func (p *matrix) geometry() string {
	s := fmt.Sprintf("matmul %dx%dx%d float32", p.m, p.k, p.n)
	if len(p.batch) > 0 {
		s = fmt.Sprintf("matmul %s of %dx%dx%d float32", dims(p.batch), p.m, p.k, p.n)
	}
	if p.w == nil {
		s += " packed"
		if p.transB {
			s += " transposed"
		}
	}
	if p.bias != nil {
		s += " bias"
	}
	return s
}

func (p *matrix) tiling(lanes int) *tiling {
	return &tiling{lanes: lanes, groups: product(p.batch), blocks: blocksOf(p.n), terms: p.k, inner: min(p.k, block), taps: p.k / block, rows: 1, cols: p.m, bytes: 4,
		step: p.standard(lanes), budget: budgetOf(lanes), order: 1}
}

// standard is how many blocks a tile has by default: one row's product needs many sums at once.
func (p *matrix) standard(lanes int) int {
	if p.m == 1 {
		return map[int]int{16: 16, 8: 8, 4: 4}[lanes]
	}
	return groupBlocks(lanes)
}

func (p *matrix) write(f *text, lanes int, adds []*tensor) {
	for i, d := range p.batch {
		f.loop(fmt.Sprintf("b%d", i), d)
	}
	batch := func(s []int) string {
		e := ""
		for i, x := range s {
			if x != 0 && p.batch[i] > 1 {
				e += fmt.Sprintf(" + b%d * %d", i, x)
			}
		}
		return e
	}
	blocks := blocksOf(p.n)
	weights := "a1"
	if !p.constant {
		weights = "s"
		p.pack(f, batch(p.bs), blocks)
	}
	ys := rowMajor(append(slices.Clone(p.batch), p.m, p.n))[:len(p.batch)]
	step := p.at.pick(lanes, "blocks", p.standard(lanes))
	t := &tile{k: p.k, plane: block, bias: p.bias != nil, unroll: p.at.pick(lanes, "unroll", 0)}
	if p.k/block > 0 {
		t.sections = append(t.sections, section{0, []span{{p.k / block, block}, {block, 1}}})
	}
	if rest := p.k % block; rest > 0 {
		t.sections = append(t.sections, section{p.k / block * block, []span{{rest, 1}}})
	}
	whole := p.n / (step * block)
	type part struct{ from, n, step, tail int }
	var parts []part
	if whole > 0 {
		parts = append(parts, part{0, whole, step, 0})
	}
	if rest := blocks - whole*step; rest > 0 {
		parts = append(parts, part{whole * step, 1, rest, p.n % block})
	}
	for _, g := range parts {
		t.group(g.from, g.from+g.step, blocks, lanes)
		t.tail = g.tail
		limit := max(f.budget(lanes)/len(t.vecs), 1)
		if g.step == step {
			limit = p.at.pick(lanes, "pixels", limit)
		}
		outer := p.at.pick(lanes, "outer", 1) == 1
		if outer {
			f.loop("o", g.n)
		}
		for _, r := range split(p.m, limit) {
			t.spots = nil
			for i := range r.step {
				t.spots = append(t.spots, spot{i * p.k, i * p.n})
			}
			t.epilogue = epilogues(p.ops.ops, adds, func(_ *tensor, s int) int { return s * p.n }, func(*tensor) int { return block }, len(t.spots))
			name := t.write(f)
			f.loop("i", r.n)
			if !outer {
				f.loop("o", g.n)
			}
			at := fmt.Sprintf("%d + i * %d + o * %d%s", r.from*p.n+g.from*block, r.step*p.n, g.step*block, batch(ys))
			call := fmt.Sprintf("%s(a0 + %d + i * %d%s, %s + %d + o * %d", name, r.from*p.k, r.step*p.k, batch(p.as), weights, g.from*block*p.k, g.step*block*p.k)
			next := 2
			if p.bias != nil {
				call += fmt.Sprintf(", a2 + %d + o * %d", g.from*block, g.step*block)
				next++
			}
			for k := range adds {
				call += fmt.Sprintf(", a%d + %s", next+k, at)
			}
			f.line("%s, y0 + %s);", call, at)
			if !outer {
				f.end()
			}
			f.end()
		}
		if outer {
			f.end()
		}
	}
	for range p.batch {
		f.end()
	}
}

// pack writes the loops that bring b into panels.
func (p *matrix) pack(f *text, at string, blocks int) {
	row, col := p.n, 1
	if p.transB {
		row, col = 1, p.k
	}
	panel := func(from, count, width int, o string) {
		// count columns of a panel so wide
		f.loop("k", p.k)
		f.line("float *d = s + %s * %d + k * %d;", o, block*p.k, width)
		f.line("const float *e = a1 + k * %d + %s * %d%s;", row, o, block*col, at)
		f.loop("j", count)
		f.line("d[j] = e[j * %d];", col)
		f.end()
		if count < width {
			f.line("for (int j = %d; j < %d; j++) d[j] = 0.0f;", count, width)
		}
		f.end()
	}
	pairs := p.n / (2 * block)
	if pairs > 0 {
		f.line("for (int o = 0; o < %d; o += 2) {", 2*pairs)
		panel(0, 2*block, 2*block, "o")
		f.end()
	}
	if rest := p.n - pairs*2*block; rest > 0 {
		panel(2*pairs, rest, (blocks-2*pairs)*block, fmt.Sprint(2*pairs))
	}
}
