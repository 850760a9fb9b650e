package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// integers emits the functions that arrange bytes for the integer tiles, and back.
func integers() {
	interleave(4)
	interleave(2)
	flipBytes()
	requantize()
	quantize()
	dequantize()
	addBytes()
	floatsToInts()
}

// interleave joins the bytes of rows into 32-bit groups.
func interleave(rows int) {
	name := fmt.Sprintf("interleave%d", rows)
	TEXT(name, NOSPLIT, "func(dst, src *byte, n, stride int, flip uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets n groups, at least 8, of %d zero-extended integers to the bytes of as many rows of src, stride bytes apart,", name, rows),
		"and flips the given bits of each group.")
	dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
	src := Load(Param("src"), GP64()).(reg.GPVirtual)
	n := Load(Param("n"), GP64())
	stride := Load(Param("stride"), GP64()).(reg.GPVirtual)
	flip := YMM()
	f, err := Param("flip").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(f.Addr, flip)
	i := GP64()
	ptr := []reg.GPVirtual{src}
	for r := 1; r < rows; r++ {
		p := GP64()
		LEAQ(Mem{Base: ptr[r-1], Index: stride, Scale: 1}, p)
		ptr = append(ptr, p)
	}
	SUBQ(Imm(8), n)
	vector := func() {
		var sum reg.VecVirtual
		for r, p := range ptr {
			v := YMM()
			VPMOVZXBD(Mem{Base: p, Index: i, Scale: 1}, v)
			if r == 0 {
				sum = v
				continue
			}
			VPSLLD(Imm(uint64(32/rows*r)), v, v)
			VPOR(v, sum, sum)
		}
		VPXOR(flip, sum, sum)
		VMOVDQU(sum, Mem{Base: dst, Index: i, Scale: 4})
	}
	XORQ(i, i)
	CMPQ(i, n)
	JGE(LabelRef(name + "_last"))
	Label(name + "_vector")
	vector()
	ADDQ(Imm(8), i)
	CMPQ(i, n)
	JLT(LabelRef(name + "_vector"))
	Label(name + "_last")
	MOVQ(n, i)
	vector()
	VZEROUPPER()
	RET()
}

// flipBytes copies bytes and sums them.
func flipBytes() {
	TEXT("flipBytes", NOSPLIT, "func(dst, src *byte, vectors int, flip, unsign uint64) uint64")
	Pragma("noescape")
	Doc("flipBytes sets dst to src with the given bits flipped, 32 bytes a vector, and returns the sum of the bytes of dst, taken as",
		"unsigned after flipping the bits of unsign.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	vectors := Load(Param("vectors"), GP64())
	flip, unsign, zero, sum, v, w := YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
	for _, p := range []struct {
		name string
		y    reg.VecVirtual
	}{{"flip", flip}, {"unsign", unsign}} {
		a, err := Param(p.name).Resolve()
		if err != nil {
			panic(err)
		}
		VPBROADCASTQ(a.Addr, p.y)
	}
	VPXOR(zero, zero, zero)
	VPXOR(sum, sum, sum)
	Label("flipBytes_vector")
	VPXOR(Mem{Base: src}, flip, v)
	VMOVDQU(v, Mem{Base: dst})
	VPXOR(v, unsign, w)
	VPSADBW(zero, w, w)
	VPADDQ(w, sum, sum)
	ADDQ(Imm(32), src)
	ADDQ(Imm(32), dst)
	DECQ(vectors)
	JNE(LabelRef("flipBytes_vector"))
	x, lo := XMM(), sum.AsX()
	VEXTRACTI128(Imm(1), sum, x)
	VPADDQ(x, lo, lo)
	VPSRLDQ(Imm(8), lo, x)
	VPADDQ(x, lo, lo)
	r := GP64()
	VMOVQ(lo, r)
	Store(r, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
