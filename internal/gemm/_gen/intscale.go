package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// broadcast loads 32-bit parameters into all lanes of a register each.
func broadcast(params ...string) []reg.VecVirtual {
	var r []reg.VecVirtual
	for _, p := range params {
		a, err := Param(p).Resolve()
		if err != nil {
			panic(err)
		}
		y := YMM()
		VBROADCASTSS(a.Addr, y)
		r = append(r, y)
	}
	return r
}

// narrow stores the eight float32 of v, limited to lo..hi, rounded to the nearest integer, ties to even, plus the integers zero, as
// bytes. NaN becomes lo.
func narrow(v, zero, lo, hi reg.VecVirtual, dst Mem) {
	x, h := v.AsX(), XMM()
	VMAXPS(lo, v, v) // the second source if one is NaN, which is lo
	VMINPS(hi, v, v)
	VCVTPS2DQ(v, v)
	VPADDD(zero, v, v)
	VEXTRACTI128(Imm(1), v, h)
	VPACKSSDW(h, x, x)
	// Keep the low byte of each: whether it is signed has been settled by the bounds.
	VPAND(lowBytes, x, x)
	VPACKUSWB(x, x, x)
	VMOVQ(x, dst)
}

// lowBytes is a constant with the low byte of each 16 bits set.
var lowBytes Mem

func makeLowBytes() {
	lowBytes = GLOBL("lowBytes", RODATA|NOPTR)
	for i := range 2 {
		DATA(8*i, U64(0x00ff00ff00ff00ff))
	}
}

// requantize scales sums.
func requantize() {
	const name = "requantize8"
	makeLowBytes()
	TEXT(name, NOSPLIT, "func(dst *byte, src *int32, vectors int, scale, offset *float32, step int, zero, lo, hi float32)")
	Pragma("noescape")
	Doc(name+" sets bytes, 8 a vector, to the nearest integer of src*scale+offset, ties to even, plus zero, within lo..hi, which are",
		"bounds of the result less zero. Scale and offset are of 8 elements, step bytes from those of the next vector.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	vectors := Load(Param("vectors"), GP64())
	scale := Load(Param("scale"), GP64())
	offset := Load(Param("offset"), GP64())
	step := Load(Param("step"), GP64())
	c := broadcast("zero", "lo", "hi")
	zero := YMM()
	VCVTPS2DQ(c[0], zero)
	v := YMM()
	Label(name + "_vector")
	VCVTDQ2PS(Mem{Base: src}, v)
	VMULPS(Mem{Base: scale}, v, v)
	VADDPS(Mem{Base: offset}, v, v)
	narrow(v, zero, c[1], c[2], Mem{Base: dst})
	ADDQ(Imm(32), src)
	ADDQ(Imm(8), dst)
	ADDQ(step, scale)
	ADDQ(step, offset)
	DECQ(vectors)
	JNE(LabelRef(name + "_vector"))
	VZEROUPPER()
	RET()
}

// quantize divides by a scale.
func quantize() {
	const name = "quantize8"
	TEXT(name, NOSPLIT, "func(dst *byte, src *float32, vectors int, scale, zero, lo, hi float32)")
	Pragma("noescape")
	Doc(name+" sets bytes, 8 a vector, to the nearest integer of src/scale, ties to even, plus zero, within lo..hi, which are bounds",
		"of the result less zero; to the least for NaN.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	vectors := Load(Param("vectors"), GP64())
	c := broadcast("scale", "zero", "lo", "hi")
	zero, v := YMM(), YMM()
	VCVTPS2DQ(c[1], zero)
	Label(name + "_vector")
	VMOVUPS(Mem{Base: src}, v)
	VDIVPS(c[0], v, v)
	narrow(v, zero, c[2], c[3], Mem{Base: dst})
	ADDQ(Imm(32), src)
	ADDQ(Imm(8), dst)
	DECQ(vectors)
	JNE(LabelRef(name + "_vector"))
	VZEROUPPER()
	RET()
}

// widen sets v to the float32 of eight bytes, with bits flipped, less zero, times scale.
func widen(v reg.VecVirtual, src Mem, flip, zero, scale Op) {
	VPMOVZXBD(src, v)
	VPXOR(flip, v, v)
	VCVTDQ2PS(v, v)
	VSUBPS(zero, v, v)
	VMULPS(scale, v, v)
}

func dequantize() {
	const name = "dequantize8"
	TEXT(name, NOSPLIT, "func(dst *float32, src *byte, vectors int, flip uint32, zero, scale float32)")
	Pragma("noescape")
	Doc(name + " sets dst, 8 a vector, to the bytes of src with the given bits flipped, less zero, times scale.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	vectors := Load(Param("vectors"), GP64())
	c := broadcast("flip", "zero", "scale")
	v := YMM()
	Label(name + "_vector")
	widen(v, Mem{Base: src}, c[0], c[1], c[2])
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(8), src)
	ADDQ(Imm(32), dst)
	DECQ(vectors)
	JNE(LabelRef(name + "_vector"))
	VZEROUPPER()
	RET()
}

func addBytes() {
	const name = "addBytes8"
	TEXT(name, NOSPLIT, "func(dst, a, b *byte, vectors int, flipA, flipB uint32, zeroA, zeroB, scaleA, scaleB, scale, zero, lo, hi float32)")
	Pragma("noescape")
	Doc(name + " sets bytes, 8 a vector, to those that quantize8 makes of the sum of what dequantize8 makes of a and b.")
	dst := Load(Param("dst"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	vectors := Load(Param("vectors"), GP64())
	c := broadcast("flipA", "flipB", "zeroA", "zeroB", "scaleA", "scaleB", "scale", "zero", "lo", "hi")
	VCVTPS2DQ(c[7], c[7])
	v, w := YMM(), YMM()
	i := GP64()
	XORQ(i, i)
	Label(name + "_vector")
	widen(v, Mem{Base: a, Index: i, Scale: 8}, c[0], c[2], c[4])
	widen(w, Mem{Base: b, Index: i, Scale: 8}, c[1], c[3], c[5])
	VADDPS(w, v, v)
	VDIVPS(c[6], v, v)
	narrow(v, c[7], c[8], c[9], Mem{Base: dst, Index: i, Scale: 8})
	INCQ(i)
	CMPQ(i, vectors)
	JLT(LabelRef(name + "_vector"))
	VZEROUPPER()
	RET()
}

func floatsToInts() {
	const name = "floatsToInts8"
	TEXT(name, NOSPLIT, "func(v *float32, vectors int)")
	Pragma("noescape")
	Doc(name + " replaces integral float32, 8 a vector, by int32 of the same values.")
	v := Load(Param("v"), GP64())
	vectors := Load(Param("vectors"), GP64())
	y := YMM()
	Label(name + "_vector")
	VCVTPS2DQ(Mem{Base: v}, y)
	VMOVDQU(y, Mem{Base: v})
	ADDQ(Imm(32), v)
	DECQ(vectors)
	JNE(LabelRef(name + "_vector"))
	VZEROUPPER()
	RET()
}
