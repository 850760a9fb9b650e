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

// finish clamps sums and stores them at dst+o.
func (g *depthwiseGen) finish(sums []reg.VecVirtual, tmp reg.VecVirtual, dst, o reg.GPVirtual) {
	for _, c := range []struct {
		field int
		f     func(ops ...Op)
	}{{dwLo, VMAXPS}, {dwHi, VMINPS}} {
		VBROADCASTSS(Mem{Base: g.args, Disp: c.field}, tmp)
		for _, s := range sums {
			c.f(s, tmp, s)
		}
	}
	for i, s := range sums {
		VMOVUPS(s, Mem{Base: dst, Index: o, Scale: 1, Disp: 32 * i})
	}
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
	o, end := GP64(), GP64()
	tmp := YMM()
	body := func(n int) {
		sums := make([]reg.VecVirtual, n)
		for i := range sums {
			sums[i] = YMM()
			VBROADCASTSS(Mem{Base: g.args, Disp: dwBias}, sums[i])
		}
		for t := range w {
			for i, s := range sums {
				VFMADD231PS(Mem{Base: x[t], Index: o, Scale: 1, Disp: 32 * i}, w[t], s)
			}
		}
		g.finish(sums, tmp, dst, o)
		ADDQ(I32(32*n), o)
	}
	Label("depthwise9_row")
	XORQ(o, o)
	MOVQ(Mem{Base: g.args, Disp: dwVectors}, end)
	SHLQ(Imm(5), end)
	Label("depthwise9_four")
	SUBQ(U32(128), end)
	JL(LabelRef("depthwise9_tail"))
	body(4)
	JMP(LabelRef("depthwise9_four"))
	Label("depthwise9_tail")
	ADDQ(U32(128), end)
	JE(LabelRef("depthwise9_next"))
	Label("depthwise9_one")
	body(1)
	SUBQ(Imm(32), end)
	JNE(LabelRef("depthwise9_one"))
	Label("depthwise9_next")
	for i := range x {
		ADDQ(Mem{Base: g.args, Disp: dwSrcStride}, x[i])
	}
	ADDQ(Mem{Base: g.args, Disp: dwDstStride}, dst)
	DECQ(Mem{Base: g.args, Disp: dwRows})
	JNE(LabelRef("depthwise9_row"))
	VZEROUPPER()
	RET()
}

// depthwiseTaps loops over any number of taps.
func depthwiseTaps() {
	var g depthwiseGen
	g.start("depthwiseTaps", "depthwiseTaps is the depthwise kernel for any positive number of taps.")
	src, dst := g.load(dwSrc), g.load(dwDst)
	weights, table := g.load(dwWeights), g.load(dwOffsets)
	o, end, tap, p := GP64(), GP64(), GP64(), GP64()
	w, tmp := YMM(), YMM()
	body := func(n int) {
		sums := make([]reg.VecVirtual, n)
		for i := range sums {
			sums[i] = YMM()
			VBROADCASTSS(Mem{Base: g.args, Disp: dwBias}, sums[i])
		}
		XORQ(tap, tap)
		loop := fmt.Sprintf("depthwiseTaps_tap%d", n)
		Label(loop)
		MOVQ(Mem{Base: table, Index: tap, Scale: 8}, p)
		ADDQ(src, p)
		VBROADCASTSS(Mem{Base: weights, Index: tap, Scale: 4}, w)
		for i, s := range sums {
			VFMADD231PS(Mem{Base: p, Index: o, Scale: 1, Disp: 32 * i}, w, s)
		}
		INCQ(tap)
		CMPQ(tap, Mem{Base: g.args, Disp: dwTaps})
		JLT(LabelRef(loop))
		g.finish(sums, tmp, dst, o)
		ADDQ(I32(32*n), o)
	}
	Label("depthwiseTaps_row")
	XORQ(o, o)
	MOVQ(Mem{Base: g.args, Disp: dwVectors}, end)
	for _, n := range []int{8, 4, 2, 1} {
		Label(fmt.Sprintf("depthwiseTaps_%d", n))
		SUBQ(Imm(uint64(n)), end)
		JL(LabelRef(fmt.Sprintf("depthwiseTaps_end%d", n)))
		body(n)
		JMP(LabelRef(fmt.Sprintf("depthwiseTaps_%d", n)))
		Label(fmt.Sprintf("depthwiseTaps_end%d", n))
		ADDQ(Imm(uint64(n)), end)
	}
	ADDQ(Mem{Base: g.args, Disp: dwSrcStride}, src)
	ADDQ(Mem{Base: g.args, Disp: dwDstStride}, dst)
	DECQ(Mem{Base: g.args, Disp: dwRows})
	JNE(LabelRef("depthwiseTaps_row"))
	VZEROUPPER()
	RET()
}
