package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// halves emits the conversions between float16 and float32.
func halves() {
	TEXT("widenVectors", NOSPLIT, "func(dst *float32, src *uint16, vectors int)")
	Pragma("noescape")
	Doc("widenVectors converts so many vectors, at least one, of 8 elements.")
	dst, src, n := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("vectors"), GP64())
	Label("widen_loop")
	v := YMM()
	VCVTPH2PS(Mem{Base: src}, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(16), src)
	ADDQ(Imm(32), dst)
	DECQ(n)
	JNZ(LabelRef("widen_loop"))
	VZEROUPPER()
	RET()

	TEXT("narrowVectors", NOSPLIT, "func(dst *uint16, src *float32, vectors int) int")
	Pragma("noescape")
	Doc("narrowVectors converts so many vectors, at least one, of 8 elements, to nearest even. It stops before a vector with a NaN and",
		"returns how many vectors are left.")
	dst, src, n = Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("vectors"), GP64())
	Label("narrow_loop")
	v, odd := YMM(), YMM()
	mask := GP32()
	VMOVUPS(Mem{Base: src}, v)
	VCMPPS(Imm(3), v, v, odd) // unordered
	VMOVMSKPS(odd, mask)
	TESTL(mask, mask)
	JNZ(LabelRef("narrow_done"))
	VCVTPS2PH(Imm(0), v, Mem{Base: dst})
	ADDQ(Imm(32), src)
	ADDQ(Imm(16), dst)
	DECQ(n)
	JNZ(LabelRef("narrow_loop"))
	Label("narrow_done")
	VZEROUPPER()
	Store(n, ReturnIndex(0))
	RET()
}
