package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// splitRows copies rows of a plane of float32, taking each element or every other one. The last vector of a row overlaps the one
// before it, so that nothing outside a row is touched.
func splitRows(step int) {
	name := fmt.Sprintf("splitRows%d", step)
	TEXT(name, NOSPLIT, "func(dst, src *byte, rows, width, dstStride, srcStride int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets rows of width float32, at least 8, of dst to every %d. element of rows of src. Strides are in bytes.", name, step))
	dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
	src := Load(Param("src"), GP64()).(reg.GPVirtual)
	rows := Load(Param("rows"), GP64())
	width := Load(Param("width"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	i := GP64()
	last := GP64()
	LEAQ(Mem{Base: width, Disp: -8}, last)
	vector := func() {
		a := YMM()
		if step == 1 {
			VMOVUPS(Mem{Base: src, Index: i, Scale: 4}, a)
		} else { // the second load begins one element early, not to end one late
			b := YMM()
			VMOVUPS(Mem{Base: src, Index: i, Scale: 8}, a)
			VMOVUPS(Mem{Base: src, Index: i, Scale: 8, Disp: 28}, b)
			VSHUFPS(Imm(0xd8), b, a, a)
			VPERMPD(Imm(0xd8), a, a)
		}
		VMOVUPS(a, Mem{Base: dst, Index: i, Scale: 4})
	}
	Label(name + "_row")
	XORQ(i, i)
	CMPQ(i, last)
	JGE(LabelRef(name + "_last"))
	Label(name + "_vector")
	vector()
	ADDQ(Imm(8), i)
	CMPQ(i, last)
	JLT(LabelRef(name + "_vector"))
	Label(name + "_last")
	MOVQ(last, i)
	vector()
	ADDQ(dstStride, dst)
	ADDQ(srcStride, src)
	DECQ(rows)
	JNE(LabelRef(name + "_row"))
	VZEROUPPER()
	RET()
}

// copyNarrow copies rows of 4 to 8 elements as two overlapping halves.
func copyNarrow() {
	const name = "copyNarrow"
	TEXT(name, NOSPLIT, "func(dst, src *byte, rows, width, dstStride, srcStride int)")
	Pragma("noescape")
	Doc("copyNarrow copies rows of width float32, 4 to 8. Strides are in bytes.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	rows := Load(Param("rows"), GP64())
	width := Load(Param("width"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	a, b := XMM(), XMM()
	Label(name + "_row")
	VMOVUPS(Mem{Base: src}, a)
	VMOVUPS(Mem{Base: src, Index: width, Scale: 4, Disp: -16}, b)
	VMOVUPS(a, Mem{Base: dst})
	VMOVUPS(b, Mem{Base: dst, Index: width, Scale: 4, Disp: -16})
	ADDQ(dstStride, dst)
	ADDQ(srcStride, src)
	DECQ(rows)
	JNE(LabelRef(name + "_row"))
	RET()
}
