package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// moves emits the functions that only move data.
func moves() {
	packRows(64)
	packRows(128)
	transpose8()
	compactRows()
	splitRows(1)
	splitRows(2)
	copyNarrow()
}

// packRows copies rows of a matrix into panels of the given width in bytes.
func packRows(width int) {
	name := fmt.Sprintf("packRows%d", width)
	TEXT(name, NOSPLIT, "func(dst, src *byte, rows, stride, panels, panelStride int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s copies rows of panels*%d bytes, stride bytes apart, so that the rows of each panel lie together.", name, width))
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	rows := Load(Param("rows"), GP64())
	stride := Load(Param("stride"), GP64())
	panels := Load(Param("panels"), GP64())
	pitch := Load(Param("panelStride"), GP64())
	s, d, n := GP64(), GP64(), GP64()
	Label(name + "_row")
	MOVQ(src, s)
	MOVQ(dst, d)
	MOVQ(panels, n)
	Label(name + "_panel")
	var v []reg.VecVirtual
	for o := 0; o < width; o += 32 {
		y := YMM()
		VMOVUPS(Mem{Base: s, Disp: o}, y)
		v = append(v, y)
	}
	for i, y := range v {
		VMOVUPS(y, Mem{Base: d, Disp: 32 * i})
	}
	ADDQ(I32(width), s)
	ADDQ(pitch, d)
	DECQ(n)
	JNE(LabelRef(name + "_panel"))
	ADDQ(stride, src)
	ADDQ(I32(width), dst)
	DECQ(rows)
	JNE(LabelRef(name + "_row"))
	VZEROUPPER()
	RET()
}

// transpose8 transposes blocks of 8 by 8 float32 with two rounds of interleaving within 128-bit lanes and one across them.
func transpose8() {
	TEXT("transpose8", NOSPLIT, "func(dst, src *byte, blocks, dstStride, srcStride int)")
	Pragma("noescape")
	Doc("transpose8 transposes 8 rows of 8*blocks float32 into 8*blocks rows of 8. Strides are in bytes; blocks is positive.")
	dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
	src := Load(Param("src"), GP64()).(reg.GPVirtual)
	blocks := Load(Param("blocks"), GP64())
	dstStride := Load(Param("dstStride"), GP64()).(reg.GPVirtual)
	srcStride := Load(Param("srcStride"), GP64()).(reg.GPVirtual)
	eight := func(base, stride reg.GPVirtual) []Mem {
		three, high := GP64(), GP64()
		LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
		LEAQ(Mem{Base: base, Index: stride, Scale: 4}, high)
		return []Mem{
			{Base: base}, {Base: base, Index: stride, Scale: 1}, {Base: base, Index: stride, Scale: 2}, {Base: base, Index: three, Scale: 1},
			{Base: high}, {Base: high, Index: stride, Scale: 1}, {Base: high, Index: stride, Scale: 2}, {Base: high, Index: three, Scale: 1},
		}
	}
	Label("transpose8_block")
	var r, s [8]reg.VecVirtual
	for i, m := range eight(src, srcStride) {
		r[i] = YMM()
		VMOVUPS(m, r[i])
	}
	for i := 0; i < 8; i += 2 {
		s[i], s[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], s[i])
		VUNPCKHPS(r[i+1], r[i], s[i+1])
	}
	for h := 0; h < 8; h += 4 {
		for i, p := range [4][2]int{{0, 0x44}, {0, 0xee}, {1, 0x44}, {1, 0xee}} {
			r[h+i] = YMM()
			VSHUFPS(Imm(uint64(p[1])), s[h+p[0]+2], s[h+p[0]], r[h+i])
		}
	}
	out := eight(dst, dstStride)
	for i := range 4 {
		low, high := YMM(), YMM()
		VPERM2F128(Imm(0x20), r[i+4], r[i], low)
		VPERM2F128(Imm(0x31), r[i+4], r[i], high)
		VMOVUPS(low, out[i])
		VMOVUPS(high, out[i+4])
	}
	ADDQ(Imm(32), src)
	LEAQ(Mem{Base: dst, Index: dstStride, Scale: 8}, dst)
	DECQ(blocks)
	JNE(LabelRef("transpose8_block"))
	VZEROUPPER()
	RET()
}

// compactRows removes the gaps between short rows.
func compactRows() {
	const name = "compactRows"
	TEXT(name, NOSPLIT, "func(dst, src *byte, rows, width, stride int)")
	Pragma("noescape")
	Doc("compactRows copies rows of width bytes, stride apart in src, to dst, where they touch. It moves whole 32-byte vectors: up",
		"to 31 bytes past the end of each row are read, and written in dst.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	rows := Load(Param("rows"), GP64())
	width := Load(Param("width"), GP64())
	stride := Load(Param("stride"), GP64())
	o, v := GP64(), YMM()
	Label(name + "_row")
	XORQ(o, o)
	Label(name + "_vector")
	VMOVUPS(Mem{Base: src, Index: o, Scale: 1}, v)
	VMOVUPS(v, Mem{Base: dst, Index: o, Scale: 1})
	ADDQ(Imm(32), o)
	CMPQ(o, width)
	JLT(LabelRef(name + "_vector"))
	ADDQ(width, dst)
	ADDQ(stride, src)
	DECQ(rows)
	JNE(LabelRef(name + "_row"))
	VZEROUPPER()
	RET()
}
