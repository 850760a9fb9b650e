package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of type tile in package gemm, which a test there compares with the compiler's.
const (
	fieldK       = 0
	fieldA       = 8
	fieldARow    = 16
	fieldAStep   = 24
	fieldB       = 32
	fieldBStep   = 40
	fieldOffsets = 48
	fieldC       = 56
	fieldCRow    = 64
	fieldRows    = 72
	fieldMask    = 80
	fieldRowBias = 88
	fieldColBias = 96
	fieldFlags   = 104
	fieldLo      = 112
	fieldHi      = 120

	flagAccumulate = 1
	flagClamp      = 2
)

// An arith says how a tile multiplies and adds elements of one kind.
type arith struct {
	name      string
	elem      int // bytes
	move      func(ops ...Op)
	moveZero  func(m, k, v Op) // masked load, zero elsewhere
	broadcast func(ops ...Op)
	add       func(ops ...Op)
	min, max  func(ops ...Op) // nil: no clamp
	// fma adds the product of b (the vector operand) and a (the broadcast one) to c.
	fma   func(b, a, c, spare reg.VecVirtual)
	spare bool // fma needs the spare register
}

var (
	float32Arith = arith{"f32", 4, VMOVUPS, VMOVUPS_Z, VBROADCASTSS, VADDPS, VMINPS, VMAXPS,
		func(b, a, c, _ reg.VecVirtual) { VFMADD231PS(b, a, c) }, false}
	float64Arith = arith{"f64", 8, VMOVUPD, VMOVUPD_Z, VBROADCASTSD, VADDPD, VMINPD, VMAXPD,
		func(b, a, c, _ reg.VecVirtual) { VFMADD231PD(b, a, c) }, false}
	pairArith = arith{"i16", 4, VMOVUPS, VMOVUPS_Z, VPBROADCASTD, VPADDD, nil, nil,
		func(b, a, c, spare reg.VecVirtual) { VPMADDWD(b, a, spare); VPADDD(spare, c, c) }, true}
	quadArith = arith{"i8", 4, VMOVUPS, VMOVUPS_Z, VPBROADCASTD, VPADDD, nil, nil,
		func(b, a, c, _ reg.VecVirtual) { vpdpbusd(a, b, c) }, false}
)

// vpdpbusd adds to each int32 of c the four products of signed bytes of s and unsigned bytes of u. avo lacks the instruction;
// Go's assembler has it.
func vpdpbusd(s, u, c reg.VecVirtual) {
	Instruction(&ir.Instruction{
		Opcode: "VPDPBUSD", Operands: []Op{s, u, c},
		Inputs: []Op{s, u, c}, Outputs: []Op{c}, ISA: []string{"AVX512VNNI"},
	})
}

// A tileSpec is one family of tiles: an arithmetic, a register width and the heights that exist, tallest first. Widths are one
// and two vectors, each with strided operands and, where offsets and onA say so, with tabulated rows of B and columns of A.
type tileSpec struct {
	arith
	isa     string
	zmm     bool
	rows    []int
	offsets bool
	onA     bool
}

// An access says which operand is read at tabulated offsets.
type access int

const (
	strided access = iota
	tabulatedB
	tabulatedA
)

var (
	float32Tiles = []tileSpec{
		{float32Arith, "AVX2", false, []int{6, 4, 1}, true, true},
		{float32Arith, "AVX512", true, []int{12, 8, 4, 1}, true, true},
	}
	float64Tiles = []tileSpec{
		{float64Arith, "AVX2", false, []int{6, 4, 1}, false, false},
		{float64Arith, "AVX512", true, []int{12, 8, 4, 1}, false, false},
	}
	intTiles = []tileSpec{
		{pairArith, "AVX2", false, []int{6, 4, 1}, true, false},
		{quadArith, "VNNI", true, []int{12, 8, 4, 1}, true, false},
	}
)

func tiles(specs []tileSpec) {
	for _, s := range specs {
		for _, rows := range s.rows {
			for vecs := 2; vecs >= 1; vecs-- {
				s.generate(rows, vecs, strided)
				if s.offsets {
					s.generate(rows, vecs, tabulatedB)
				}
				if s.onA {
					s.generate(rows, vecs, tabulatedA)
				}
			}
		}
	}
}

// generate emits one micro-kernel: the inner loop of Goto and van de Geijn (2008) as an outer product that keeps rows by vecs
// registers of C, followed by the epilogue (accumulate, biases, clamp) and the store.
func (s tileSpec) generate(rows, vecs int, mode access) {
	name := fmt.Sprintf("%s%sr%dv%d", s.name, s.isa, rows, vecs)
	from := "rows of B at equal distances"
	switch mode {
	case tabulatedB:
		name += "o"
		from = "rows of B at tabulated offsets"
	case tabulatedA:
		name += "a"
		from = "columns of A at tabulated offsets"
	}
	TEXT(name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes up to %d rows by %d vectors of C, %s.", name, rows, vecs, from))
	g := tileGen{tileSpec: s, name: name, rows: rows, vecs: vecs, bytes: 32}
	if s.zmm {
		g.bytes = 64
	}
	g.t = Load(Param("t"), GP64()).(reg.GPVirtual)
	g.zero()
	g.product(mode)
	g.epilogue()
	VZEROUPPER()
	RET()
}

type tileGen struct {
	tileSpec
	name       string
	rows, vecs int
	bytes      int // of a vector
	t          reg.GPVirtual
	acc        [][]reg.VecVirtual
}

func (g *tileGen) vec() reg.VecVirtual {
	if g.zmm {
		return ZMM()
	}
	return YMM()
}

func (g *tileGen) field(offset int) reg.GPVirtual {
	r := GP64()
	MOVQ(Mem{Base: g.t, Disp: offset}, r)
	return r
}

func (g *tileGen) zero() {
	g.acc = nil
	for range g.rows {
		var row []reg.VecVirtual
		for range g.vecs {
			v := g.vec()
			if g.zmm {
				VPXORD(v, v, v)
			} else {
				VXORPS(v, v, v)
			}
			row = append(row, v)
		}
		g.acc = append(g.acc, row)
	}
}

// rowAddresses returns one operand for each of the tile's rows, given the first row's pointer and the distance of two rows, and
// the registers that must be advanced to move them all. Four rows share a pointer.
func (g *tileGen) rowAddresses(base, row reg.GPVirtual) (mems []Mem, bases []reg.GPVirtual) {
	row3 := GP64()
	if g.rows > 3 {
		LEAQ(Mem{Base: row, Index: row, Scale: 2}, row3)
	}
	for i := range g.rows {
		if i%4 == 0 && i > 0 {
			next := GP64()
			LEAQ(Mem{Base: base, Index: row, Scale: 4}, next)
			base = next
		}
		switch i % 4 {
		case 0:
			bases = append(bases, base)
			mems = append(mems, Mem{Base: base})
		case 1:
			mems = append(mems, Mem{Base: base, Index: row, Scale: 1})
		case 2:
			mems = append(mems, Mem{Base: base, Index: row, Scale: 2})
		case 3:
			mems = append(mems, Mem{Base: base, Index: row3, Scale: 1})
		}
	}
	return mems, bases
}

func (g *tileGen) product(mode access) {
	k, b := g.field(fieldK), g.field(fieldB)
	a, aBases := g.rowAddresses(g.field(fieldA), g.field(fieldARow))
	var table, off, aStep, bStep reg.GPVirtual
	if mode != strided {
		table, off = g.field(fieldOffsets), GP64()
	}
	if mode != tabulatedA {
		aStep = g.field(fieldAStep)
	}
	if mode != tabulatedB {
		bStep = g.field(fieldBStep)
	}
	bv := []reg.VecVirtual{g.vec()}
	if g.vecs == 2 {
		bv = append(bv, g.vec())
	}
	bc := [2]reg.VecVirtual{g.vec(), g.vec()}
	sums := [2][][]reg.VecVirtual{g.acc, g.acc}
	if g.rows == 1 { // alternate between two sums, since additions to one would wait for each other
		g.zero()
		sums[1] = g.acc
		g.acc = sums[0]
	}
	step := func(u int) {
		if g.rows <= 4 && mode != tabulatedB { // few uses of each byte of B: memory is the limit
			for o := 0; o < g.vecs*g.bytes; o += 64 {
				PREFETCHT0(Mem{Base: b, Disp: 2048 + o})
			}
		}
		if mode != strided {
			MOVQ(Mem{Base: table, Disp: 8 * u}, off)
		}
		for j, v := range bv {
			m := Mem{Base: b, Disp: j * g.bytes}
			if mode == tabulatedB {
				m.Index, m.Scale = off, 1
			}
			g.move(m, v)
		}
		rows := slices.Clone(a)
		for i := range rows {
			if mode != tabulatedA {
				break
			}
			if i%4 == 0 {
				at := GP64()
				LEAQ(Mem{Base: aBases[i/4], Index: off, Scale: 1}, at)
				for q := range rows[i:min(i+4, len(rows))] {
					rows[i+q].Base = at
				}
			}
		}
		for i := range g.rows {
			x, spare := bc[i%2], bc[1-i%2]
			if g.spare {
				x, spare = bc[0], bc[1]
			}
			g.broadcast(rows[i], x)
			for j, v := range bv {
				g.fma(v, x, sums[u%2][i][j], spare)
			}
		}
		for _, p := range aBases {
			if mode != tabulatedA {
				ADDQ(aStep, p)
			}
		}
		if mode != tabulatedB {
			ADDQ(bStep, b)
		}
	}
	const unroll = 4
	four, one, done := g.name+"_four", g.name+"_one", g.name+"_done"
	SUBQ(Imm(unroll), k)
	JL(LabelRef(one))
	Label(four)
	for u := range unroll {
		step(u)
	}
	if mode != strided {
		ADDQ(Imm(8*unroll), table)
	}
	SUBQ(Imm(unroll), k)
	JGE(LabelRef(four))
	Label(one)
	ADDQ(Imm(unroll), k)
	JE(LabelRef(done))
	Label(one + "_more")
	step(0)
	if mode != strided {
		ADDQ(Imm(8), table)
	}
	DECQ(k)
	JNE(LabelRef(one + "_more"))
	Label(done)
	if g.rows == 1 {
		for j, v := range sums[1][0] {
			g.add(v, g.acc[0][j], g.acc[0][j])
		}
	}
}

func (g *tileGen) epilogue() {
	c, cRow := g.field(fieldC), g.field(fieldCRow)
	at, _ := g.rowAddresses(c, cRow)
	flags := g.field(fieldFlags)
	var mask reg.Register
	if g.zmm {
		m := GP64()
		MOVQ(Mem{Base: g.t, Disp: fieldMask}, m)
		k := K()
		KMOVW(m.As32(), k)
		mask = k
	}
	tmp := [2]reg.VecVirtual{g.vec(), g.vec()}

	g.ifSet("accumulate", flags, flagAccumulate, func() {
		g.eachRow("accumulate", func(i int) {
			for j, v := range g.acc[i] {
				m := at[i].Offset(j * g.bytes)
				if g.zmm && j == g.vecs-1 {
					g.moveZero(m, mask, tmp[0])
					g.add(tmp[0], v, v)
				} else {
					g.add(m, v, v)
				}
			}
		})
	})
	rowBias := g.field(fieldRowBias)
	g.unlessNil("rowbias", rowBias, func() {
		for i, row := range g.acc {
			g.broadcast(Mem{Base: rowBias, Disp: i * g.elem}, tmp[0])
			for _, v := range row {
				g.add(tmp[0], v, v)
			}
		}
	})
	colBias := g.field(fieldColBias)
	g.unlessNil("colbias", colBias, func() {
		for j := range g.vecs {
			g.move(Mem{Base: colBias, Disp: j * g.bytes}, tmp[0])
			for _, row := range g.acc {
				g.add(tmp[0], row[j], row[j])
			}
		}
	})
	if g.min != nil {
		g.ifSet("clamp", flags, flagClamp, func() {
			g.broadcast(Mem{Base: g.t, Disp: fieldLo}, tmp[0])
			g.broadcast(Mem{Base: g.t, Disp: fieldHi}, tmp[1])
			for _, row := range g.acc { // the value is the second source: MAXPS and MINPS return it when it is NaN
				for _, v := range row {
					g.max(v, tmp[0], v)
					g.min(v, tmp[1], v)
				}
			}
		})
	}
	g.eachRow("store", func(i int) {
		for j, v := range g.acc[i] {
			m := at[i].Offset(j * g.bytes)
			if g.zmm && j == g.vecs-1 {
				g.move(v, mask, m)
			} else {
				g.move(v, m)
			}
		}
	})
}

func (g *tileGen) ifSet(label string, flags reg.GPVirtual, bit uint64, f func()) {
	TESTQ(U32(bit), flags)
	JE(LabelRef(g.name + "_no" + label))
	f()
	Label(g.name + "_no" + label)
}

func (g *tileGen) unlessNil(label string, p reg.GPVirtual, f func()) {
	TESTQ(p, p)
	JE(LabelRef(g.name + "_no" + label))
	f()
	Label(g.name + "_no" + label)
}

// eachRow emits f for the rows that exist: the tile's field says how many of them do.
func (g *tileGen) eachRow(label string, f func(i int)) {
	end := g.name + "_" + label + "end"
	var left reg.GPVirtual
	if g.rows > 1 {
		left = g.field(fieldRows)
	}
	for i := range g.rows {
		f(i)
		if i+1 < g.rows {
			DECQ(left)
			JE(LabelRef(end))
		}
	}
	Label(end)
}
