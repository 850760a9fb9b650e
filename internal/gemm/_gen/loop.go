package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectorName is the name of a function over vectors.
func vectorName(name string) string {
	if wide {
		return name + "Vectors16"
	}
	return name + "Vectors"
}

// broadcastParam returns a register with copies of a float32 parameter.
func broadcastParam(name string) Op {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	y := vector()
	VBROADCASTSS(p.Addr, y)
	return y
}

func pointer(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// overVectors emits body for pairs of vectors and then for the last one. Body reads and writes at the offset register o.
func overVectors(name string, body func(n int, o reg.GPVirtual)) {
	n := pointer("vectors")
	o := GP64()
	XORQ(o, o)
	SUBQ(Imm(2), n)
	JL(LabelRef(name + "_one"))
	Label(name + "_two")
	body(2, o)
	ADDQ(I32(int32(2*vectorBytes())), o)
	SUBQ(Imm(2), n)
	JGE(LabelRef(name + "_two"))
	Label(name + "_one")
	ADDQ(Imm(2), n)
	JE(LabelRef(name + "_end"))
	body(1, o)
	Label(name + "_end")
}

func loadLanes(p, o reg.GPVirtual, n int) lanes {
	x := make(lanes, n)
	for i := range x {
		x[i] = vector()
		VMOVUPS(Mem{Base: p, Index: o, Scale: 1, Disp: vectorBytes() * i}, x[i])
	}
	return x
}

func storeLanes(x lanes, p, o reg.GPVirtual) {
	for i := range x {
		VMOVUPS(x[i], Mem{Base: p, Index: o, Scale: 1, Disp: vectorBytes() * i})
	}
}

func parameters(n int) (signature string, names []string) {
	for i := range n {
		names = append(names, string(rune('p'+i)))
		signature += fmt.Sprintf(", %s float32", names[i])
	}
	return
}

func loadParameters(names []string) (ops []Op) {
	for _, n := range names {
		ops = append(ops, broadcastParam(n))
	}
	return
}

// unary emits a function that applies f to each element, with scalar parameters.
func unary(name string, params int, f func(x lanes, p []Op) lanes) {
	signature, names := parameters(params)
	name = vectorName(name)
	TEXT(name, NOSPLIT, "func(dst, src *float32, vectors int"+signature+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s applies the function to vectors of %d elements.", name, vectorBytes()/4))
	dst, src := pointer("dst"), pointer("src")
	p := loadParameters(names)
	overVectors(name, func(n int, o reg.GPVirtual) { storeLanes(f(loadLanes(src, o, n), p), dst, o) })
	VZEROUPPER()
	RET()
}

func binary(name string, f func(ops ...Op)) {
	name += "Vectors"
	TEXT(name, NOSPLIT, "func(dst, a, b *float32, vectors int)")
	Pragma("noescape")
	Doc(name + " combines vectors of 8 elements.")
	dst, a, b := pointer("dst"), pointer("a"), pointer("b")
	overVectors(name, func(n int, o reg.GPVirtual) {
		x := loadLanes(a, o, n)
		for i := range x {
			f(Mem{Base: b, Index: o, Scale: 1, Disp: vectorBytes() * i}, x[i], x[i])
		}
		storeLanes(x, dst, o)
	})
	VZEROUPPER()
	RET()
}

// fold reduces a register to its first element.
func fold(v reg.VecVirtual, f func(ops ...Op)) reg.VecVirtual {
	if wide {
		high := YMM()
		VEXTRACTF64X4(Imm(1), v, high)
		f(high, v.AsY(), v.AsY())
	}
	x, lo := XMM(), v.AsX()
	VEXTRACTF128(Imm(1), v.AsY(), x)
	f(x, lo, lo)
	VPSRLDQ(Imm(8), lo, x)
	f(x, lo, lo)
	VPSRLDQ(Imm(4), lo, x)
	f(x, lo, lo)
	return v
}

// reduce emits a function that folds all elements into one, two vectors at a time.
func reduce(name string, params int, start float32, f func(x, acc lanes, p []Op), join func(ops ...Op)) {
	signature, names := parameters(params)
	name += "Reduce"
	TEXT(name, NOSPLIT, "func(src *float32, vectors int"+signature+") float32")
	Pragma("noescape")
	Doc(name + " reduces vectors of 8 elements to one element.")
	src := pointer("src")
	p := loadParameters(names)
	acc := lanes{vector(), vector()}
	for _, a := range acc {
		VMOVUPS(constant(start), a)
	}
	overVectors(name, func(n int, o reg.GPVirtual) { f(loadLanes(src, o, n), acc[:n], p) })
	join(acc[1], acc[0], acc[0])
	Store(fold(acc[0], join).AsX(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// expSum emits the middle of a softmax: dst = exp(src - p), and the sum.
func expSum() {
	name := vectorName("expSum")
	TEXT(name, NOSPLIT, "func(dst, src *float32, vectors int, p float32) float32")
	Pragma("noescape")
	Doc(name + " sets dst to exp(src-p) and returns the sum.")
	dst, src := pointer("dst"), pointer("src")
	p := broadcastParam("p")
	acc := lanes{vector(), vector()}
	for _, a := range acc {
		VMOVUPS(constant(0), a)
	}
	overVectors(name, func(n int, o reg.GPVirtual) {
		y := exp(loadLanes(src, o, n).op(VSUBPS, p))
		for i := range y {
			VADDPS(y[i], acc[i], acc[i])
		}
		storeLanes(y, dst, o)
	})
	VADDPS(acc[1], acc[0], acc[0])
	Store(fold(acc[0], VADDPS).AsX(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// normalize emits the end of a layer normalization.
func normalize() {
	const name = "normalizeVectors"
	TEXT(name, NOSPLIT, "func(dst, src, scale, bias *float32, vectors int, p, q float32)")
	Pragma("noescape")
	Doc(name + " sets dst to (src-p)*q*scale + bias.")
	dst, src, scale, bias := pointer("dst"), pointer("src"), pointer("scale"), pointer("bias")
	p, q := broadcastParam("p"), broadcastParam("q")
	overVectors(name, func(n int, o reg.GPVirtual) {
		x, b := loadLanes(src, o, n), loadLanes(bias, o, n)
		for i := range x {
			VSUBPS(p, x[i], x[i])
			VMULPS(q, x[i], x[i])
			VFMADD231PS(Mem{Base: scale, Index: o, Scale: 1, Disp: vectorBytes() * i}, x[i], b[i])
		}
		storeLanes(b, dst, o)
	})
	VZEROUPPER()
	RET()
}
