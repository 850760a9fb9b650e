package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of type depthwiseArgs.
const (
	dwDst       = 0
	dwSrc       = 8
	dwRows      = 16
	dwVectors   = 24
	dwDstStride = 32
	dwSrcStride = 40
	dwOffsets   = 48
	dwWeights   = 56
	dwTaps      = 64
	dwBias      = 72
	dwLo        = 76
	dwHi        = 80
)

type depthwiseGen struct {
	name string
	args reg.GPVirtual
	dst  reg.GPVirtual
}

func depthwiseKernels() {
	depthwise9()
	depthwiseTaps()
}

func (g *depthwiseGen) load(offset int) reg.GPVirtual {
	r := GP64()
	MOVQ(Mem{Base: g.args, Disp: offset}, r)
	return r
}

func (g *depthwiseGen) start(name, doc string) {
	g.name = name
	TEXT(name, NOSPLIT, "func(a *byte)")
	Pragma("noescape")
	Doc(doc)
	g.args = Load(Param("a"), GP64()).(reg.GPVirtual)
}

// finish clamps sums and stores them: a list for each row of results, where the row's element 0 is at the address of the same index.
func (g *depthwiseGen) finish(rows [][]reg.VecVirtual, tmp reg.VecVirtual, at []Mem) {
	for _, c := range []struct {
		field int
		f     func(ops ...Op)
	}{{dwLo, VMAXPS}, {dwHi, VMINPS}} {
		VBROADCASTSS(Mem{Base: g.args, Disp: c.field}, tmp)
		for _, sums := range rows {
			for _, s := range sums {
				c.f(s, tmp, s)
			}
		}
	}
	// In the order of rows: what a row's last vector writes too much belongs to the next.
	for r, sums := range rows {
		for i, s := range sums {
			VMOVUPS(s, at[r].Offset(32*i))
		}
	}
}

// sums returns registers that hold the bias, vectors for each row.
func (g *depthwiseGen) sums(rows, vectors int) [][]reg.VecVirtual {
	all := make([][]reg.VecVirtual, rows)
	for r := range all {
		for range vectors {
			s := YMM()
			VBROADCASTSS(Mem{Base: g.args, Disp: dwBias}, s)
			all[r] = append(all[r], s)
		}
	}
	return all
}

// strides returns the addresses of rows 0, 1, ... from base on, at most four.
func strides(base, stride, stride3 reg.GPVirtual, rows int) []Mem {
	all := []Mem{{Base: base}, {Base: base, Index: stride, Scale: 1}, {Base: base, Index: stride, Scale: 2}, {Base: base, Index: stride3, Scale: 1}}
	return all[:rows]
}

// together emits the loop over groups of rows whose few vectors fit the registers, which hides the latency of additions. Group
// emits one group of so many vectors.
func (g *depthwiseGen) together(rows, most int, group func(vectors int), advance func()) {
	rowwise := g.name + "_rowwise"
	CMPQ(Mem{Base: g.args, Disp: dwVectors}, Imm(uint64(most)))
	JG(LabelRef(rowwise))
	Label(g.name + "_group")
	SUBQ(Imm(uint64(rows)), Mem{Base: g.args, Disp: dwRows})
	JL(LabelRef(g.name + "_fewer"))
	for n := 1; n <= most; n++ {
		if n < most {
			CMPQ(Mem{Base: g.args, Disp: dwVectors}, Imm(uint64(n)))
			JNE(LabelRef(fmt.Sprintf("%s_not%d", g.name, n)))
		}
		group(n)
		if n < most {
			JMP(LabelRef(g.name + "_grouped"))
			Label(fmt.Sprintf("%s_not%d", g.name, n))
		}
	}
	Label(g.name + "_grouped")
	advance()
	JMP(LabelRef(g.name + "_group"))
	Label(g.name + "_fewer")
	ADDQ(Imm(uint64(rows)), Mem{Base: g.args, Disp: dwRows})
	JE(LabelRef(g.name + "_done"))
	Label(rowwise)
}

// row emits a row in pieces of wide vectors and one of the rest.
func (g *depthwiseGen) row(wide int, o, end reg.GPVirtual, body func(vectors int)) {
	XORQ(o, o)
	MOVQ(Mem{Base: g.args, Disp: dwVectors}, end)
	Label(g.name + "_wide")
	SUBQ(Imm(uint64(wide)), end)
	JL(LabelRef(g.name + "_rest"))
	body(wide)
	ADDQ(I32(32*wide), o)
	JMP(LabelRef(g.name + "_wide"))
	Label(g.name + "_rest")
	ADDQ(Imm(uint64(wide)), end)
	for n := 1; n < wide; n++ {
		DECQ(end)
		JL(LabelRef(g.name + "_next"))
		if n+1 < wide {
			JNE(LabelRef(fmt.Sprintf("%s_more%d", g.name, n)))
		}
		body(n)
		if n+1 < wide {
			JMP(LabelRef(g.name + "_next"))
			Label(fmt.Sprintf("%s_more%d", g.name, n))
		}
	}
	Label(g.name + "_next")
}

// depthwise9 keeps nine weights in registers and nine pointers, one for each tap, so that any 3x3 window is covered.
func depthwise9() {
	var g depthwiseGen
	g.start("depthwise9", "depthwise9 is the depthwise kernel for nine taps.")
	var w [9]reg.VecVirtual
	weights := g.load(dwWeights)
	for i := range w {
		w[i] = YMM()
		VBROADCASTSS(Mem{Base: weights, Disp: 4 * i}, w[i])
	}
	src, table := g.load(dwSrc), g.load(dwOffsets)
	var x [9]reg.GPVirtual
	for i := range x {
		x[i] = GP64()
		MOVQ(Mem{Base: table, Disp: 8 * i}, x[i])
		ADDQ(src, x[i])
	}
	dst := g.load(dwDst)
	tmp := YMM()
	const rows = 2
	g.together(rows, 3, func(n int) {
		sums, stride := g.sums(rows, n), g.load(dwSrcStride)
		for t := range w {
			at := strides(x[t], stride, nil, rows)
			for r := range sums {
				for i, s := range sums[r] {
					VFMADD231PS(at[r].Offset(32*i), w[t], s)
				}
			}
		}
		g.finish(sums, tmp, strides(dst, g.load(dwDstStride), nil, rows))
	}, func() {
		for range rows {
			for i := range x {
				ADDQ(Mem{Base: g.args, Disp: dwSrcStride}, x[i])
			}
			ADDQ(Mem{Base: g.args, Disp: dwDstStride}, dst)
		}
	})
	o, end := GP64(), GP64()
	Label("depthwise9_row")
	g.row(4, o, end, func(n int) {
		sums := g.sums(1, n)
		for t := range w {
			for i, s := range sums[0] {
				VFMADD231PS(Mem{Base: x[t], Index: o, Scale: 1, Disp: 32 * i}, w[t], s)
			}
		}
		g.finish(sums, tmp, []Mem{{Base: dst, Index: o, Scale: 1}})
	})
	for i := range x {
		ADDQ(Mem{Base: g.args, Disp: dwSrcStride}, x[i])
	}
	ADDQ(Mem{Base: g.args, Disp: dwDstStride}, dst)
	DECQ(Mem{Base: g.args, Disp: dwRows})
	JNE(LabelRef("depthwise9_row"))
	Label("depthwise9_done")
	VZEROUPPER()
	RET()
}

// depthwiseTaps loops over any number of taps.
func depthwiseTaps() {
	var g depthwiseGen
	g.start("depthwiseTaps", "depthwiseTaps is the depthwise kernel for any positive number of taps.")
	src, dst := g.load(dwSrc), g.load(dwDst)
	weights, table := g.load(dwWeights), g.load(dwOffsets)
	tap, p := GP64(), GP64()
	w, tmp := YMM(), YMM()
	taps := func(label string, add func()) {
		XORQ(tap, tap)
		Label(label)
		MOVQ(Mem{Base: table, Index: tap, Scale: 8}, p)
		ADDQ(src, p)
		VBROADCASTSS(Mem{Base: weights, Index: tap, Scale: 4}, w)
		add()
		INCQ(tap)
		CMPQ(tap, Mem{Base: g.args, Disp: dwTaps})
		JLT(LabelRef(label))
	}
	const rows = 4
	stride, stride3 := g.load(dwSrcStride), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	g.together(rows, 3, func(n int) {
		sums := g.sums(rows, n)
		taps(fmt.Sprintf("depthwiseTaps_together%d", n), func() {
			at := strides(p, stride, stride3, rows)
			for r := range sums {
				for i, s := range sums[r] {
					VFMADD231PS(at[r].Offset(32*i), w, s)
				}
			}
		})
		out, out3 := g.load(dwDstStride), GP64()
		LEAQ(Mem{Base: out, Index: out, Scale: 2}, out3)
		g.finish(sums, tmp, strides(dst, out, out3, rows))
	}, func() {
		for range rows {
			ADDQ(stride, src)
			ADDQ(Mem{Base: g.args, Disp: dwDstStride}, dst)
		}
	})
	o, end := GP64(), GP64()
	Label("depthwiseTaps_row")
	g.row(8, o, end, func(n int) {
		sums := g.sums(1, n)
		taps(fmt.Sprintf("depthwiseTaps_tap%d", n), func() {
			for i, s := range sums[0] {
				VFMADD231PS(Mem{Base: p, Index: o, Scale: 1, Disp: 32 * i}, w, s)
			}
		})
		g.finish(sums, tmp, []Mem{{Base: dst, Index: o, Scale: 1}})
	})
	ADDQ(stride, src)
	ADDQ(Mem{Base: g.args, Disp: dwDstStride}, dst)
	DECQ(Mem{Base: g.args, Disp: dwRows})
	JNE(LabelRef("depthwiseTaps_row"))
	Label("depthwiseTaps_done")
	VZEROUPPER()
	RET()
}
