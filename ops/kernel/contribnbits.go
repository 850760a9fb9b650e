package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// matMulNBitsOp is A * B' + bias with B [N, K] in 2, 4 or 8 bits by blocks of block_size along K: (q - zero point) * scale. B is
// packed as [N, blocks, block_size*bits/8], lowest bits first. Zero points are packed likewise by rows, or floats; without them
// they are 2^(bits-1). Operand 4 says for each row of K which block's scale and zero point it has. B without elements stands for zeros.
// The product is computed as MatMul in float32; accuracy_level 4 rounds A to 8 bits by blocks, as ONNX Runtime does with constant
// weights on processors that have instructions for it.
func matMulNBitsOp(c *Call) ([]ir.Datum, error) {
	a, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	b, err := nBitsWeights(c)
	if err != nil {
		return nil, err
	}
	n := c.int("N", 0)
	x, err := c.floats32(a)
	if err != nil {
		return nil, err
	}
	if a.Rank() == 0 {
		return nil, c.badOperand(0, a)
	}
	if k := int(c.int("K", 0)); c.int("accuracy_level", 0) == 4 && a.Shape()[a.Rank()-1] == int64(k) && narrowsA(c) {
		if x, err = clone(c, x); err != nil {
			return nil, err
		}
		for i := 0; i+k <= len(x); i += k {
			roundBlocks(x[i:i+k], int(c.int("block_size", 0)))
		}
	}
	r, shape, err := matMul(c, x, b, a.Shape(), []int64{c.int("K", 0), n})
	if err != nil {
		return nil, err
	}
	if t, _ := c.Tensor(1); t != nil && t.Len() == 0 {
		clear(r) // whatever A holds
	}
	bias, err := c.sized(5, []int64{n})
	if err != nil {
		return nil, err
	}
	if bias != nil {
		for i := range r {
			r[i] += float32(bias[i%int(n)])
		}
	}
	return one(pack(a.DType(), shape, r), nil)
}

// narrowsA reports whether ONNX Runtime has a product of integers for the weights: with zero points that are integers, no groups, and
// blocks of 32 to 128 for 2 bits.
func narrowsA(c *Call) bool {
	zero, err := c.Tensor(3)
	group, errG := c.Tensor(4)
	block := c.int("block_size", 0)
	return err == nil && errG == nil && group == nil && (zero == nil || zero.DType() == ir.Uint8) && (c.int("bits", 4) != 2 || block >= 32 && block <= 128)
}

// roundBlocks rounds each block to 255 steps around zero.
func roundBlocks(x []float32, block int) {
	for len(x) > 0 {
		b := x[:min(block, len(x))]
		x = x[len(b):]
		var most float32
		for _, e := range b {
			most = max(most, e, -e)
		}
		if scale := most / 127; scale > 0 && !math.IsInf(float64(scale), 0) {
			inverse := 127 / most
			for i, e := range b {
				b[i] = float32(math.RoundToEven(float64(float32(e*inverse)))) * scale
			}
		}
	}
}

// nBitsWeights is B as floats [K, N].
func nBitsWeights(c *Call) ([]float32, error) {
	n, k, block, bits := c.int("N", 0), c.int("K", 0), c.int("block_size", 0), int(c.int("bits", 4))
	if !sane([]int64{n, k}) || n < 1 || k < 1 || block < 16 || block > 1<<30 || block&(block-1) != 0 || bits != 2 && bits != 4 && bits != 8 || c.int("weight_prepacked", 0) != 0 {
		return nil, fmt.Errorf("K %d, N %d, blocks of %d, %d bits", k, n, block, bits)
	}
	blocks := int((k + block - 1) / block)
	b, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if b.DType() == ir.Uint8 && b.Rank() == 3 && b.Len() == 0 {
		return alloc[float32](c, []int64{k, n})
	}
	packed, err := c.bytesOperand(1, int(n)*blocks*int(block)*bits/8)
	if err != nil {
		return nil, err
	}
	st, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	scales, err := c.floats32(st)
	if err != nil {
		return nil, err
	}
	if len(scales) != int(n)*blocks {
		return nil, c.badOperand(2, st)
	}
	zero, err := nBitsZeros(c, int(n), blocks, bits)
	if err != nil {
		return nil, err
	}
	group, err := nBitsGroups(c, int(k), int(block), blocks)
	if err != nil {
		return nil, err
	}
	w, err := alloc[float32](c, []int64{k, n})
	if err != nil {
		return nil, err
	}
	for j := range int(n) {
		for i := range int(k) {
			q, g := bitsAt(packed, j*blocks*int(block)+i, bits), group(i)
			w[i*int(n)+j] = float32(float32(float32(q)-zero(j, g)) * scales[j*blocks+g])
		}
		if err := c.tick(int(k)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// nBitsGroups says which block's scale and zero point a row of K has.
func nBitsGroups(c *Call, k, block, blocks int) (func(i int) int, error) {
	groups, given, err := c.intsOperand(4)
	if err != nil {
		return nil, err
	}
	if !given {
		return func(i int) int { return i / block }, nil
	}
	// ONNX Runtime leaves packed zero points out of account, and computes something else with fewer bits.
	if zero, _ := c.Tensor(3); zero != nil && zero.DType() == ir.Uint8 || c.int("bits", 4) != 4 {
		return nil, errors.New("group indices are supported for weights of 4 bits without packed zero points")
	}
	if len(groups) != k {
		return nil, fmt.Errorf("%d group indices for %d rows", len(groups), k)
	}
	for i, g := range groups {
		if g < 0 || g >= int64(blocks) {
			return nil, fmt.Errorf("group index %d of row %d is not one of %d", g, i, blocks)
		}
	}
	return func(i int) int { return int(groups[i]) }, nil
}

// nBitsZeros gives the zero point of a block of a row.
func nBitsZeros(c *Call, n, blocks, bits int) (func(row, block int) float32, error) {
	t, err := c.Tensor(3)
	if err != nil {
		return nil, err
	}
	switch {
	case t == nil:
		return func(int, int) float32 { return float32(int(1) << (bits - 1)) }, nil
	case t.DType() == ir.Uint8:
		stride := (blocks*bits + 7) / 8
		b, err := c.bytesOperand(3, n*stride)
		return func(row, block int) float32 { return float32(bitsAt(b[row*stride:], block, bits)) }, err
	case t.DType().IsFloat() && t.Len() == int64(n*blocks):
		v, err := c.floats32(t)
		return func(row, block int) float32 { return v[row*blocks+block] }, err
	}
	return nil, c.badOperand(3, t)
}

// bytesOperand is operand i, n bytes.
func (c *Call) bytesOperand(i, n int) ([]byte, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, err
	}
	if t.DType() != ir.Uint8 || t.Len() != int64(n) {
		return nil, c.badOperand(i, t)
	}
	return t.Bytes()
}

// bitsAt is element i of packed integers of that many bits, lowest bits first.
func bitsAt(b []byte, i, bits int) uint8 {
	per := 8 / bits
	return b[i/per] >> (i % per * bits) & uint8(1<<bits-1)
}

// gatherBlockQuantizedOp gathers along gather_axis from data that is quantized by blocks of block_size along quantize_axis, and
// dequantizes: (q - zero point) * scale. Data of type uint8 holds 8/bits elements a byte along its last axis, with zero points of
// 2^(bits-1) where none are given; else they are 0. Indices out of range give zeros.
func gatherBlockQuantizedOp(c *Call) ([]ir.Datum, error) {
	data, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	_, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	it, _ := c.Need(1)
	scales, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	g := &blockTable{bits: int(c.int("bits", 4)), block: int(c.int("block_size", 128))}
	shape, err := g.open(c, data, scales)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("gather_axis", 0), len(shape))
	if err != nil {
		return nil, err
	}
	out := slices.Concat(shape[:axis], it.Shape(), shape[axis+1:])
	r, err := alloc[float64](c, out)
	if err != nil {
		return nil, err
	}
	outer, size, inner, at := product(shape[:axis]), int(shape[axis]), product(shape[axis+1:]), 0
	for o := range outer {
		for _, i := range idx {
			if i < 0 {
				i += int64(size)
			}
			for k := range inner {
				if i >= 0 && i < int64(size) {
					r[at] = g.at((o*size+int(i))*inner + k)
				}
				at++
			}
			if err := c.tick(8 * inner); err != nil {
				return nil, err
			}
		}
	}
	return one(convertFloats(c, scales.DType(), out, r))
}

// blockTable is a tensor quantized by blocks along one axis.
type blockTable struct {
	bits, block  int
	data, zeros  []float64
	scales       []float64
	size, inner  int // of the axis and behind it
	blocks       int
	defaultPoint float64
}

// open reads data, scales and zero points and gives the shape of the elements.
func (g *blockTable) open(c *Call, data, scales *ir.Tensor) ([]int64, error) {
	if g.bits != 2 && g.bits != 4 && g.bits != 8 || g.block < 16 || data.Rank() == 0 || scales.Rank() != data.Rank() {
		return nil, fmt.Errorf("blocks of %d with %d bits in %s", g.block, g.bits, data.Type())
	}
	shape := slices.Clone(data.Shape())
	last := len(shape) - 1
	if data.DType() == ir.Uint8 {
		shape[last] *= int64(8 / g.bits)
		g.defaultPoint = math.Ldexp(1, g.bits-1)
	}
	axis, err := axisOf(c.int("quantize_axis", 1), len(shape))
	if err != nil {
		return nil, err
	}
	g.size, g.inner = int(shape[axis]), product(shape[axis+1:])
	g.blocks = (g.size + g.block - 1) / g.block
	if want := withAxis(shape, axis, int64(g.blocks)); !slices.Equal(scales.Shape(), want) {
		return nil, c.badOperand(2, scales)
	}
	if g.scales, err = c.floats(scales); err != nil {
		return nil, err
	}
	if g.data, err = g.elements(c, data, int(shape[last])); err != nil {
		return nil, err
	}
	zp, err := c.Tensor(3)
	if zp == nil || err != nil {
		return shape, err
	}
	if g.zeros, err = g.elements(c, zp, int(scales.Shape()[last])); err == nil && len(g.zeros) != len(g.scales) {
		err = c.badOperand(3, zp)
	}
	return shape, err
}

// elements unpacks bytes; rows of the last axis, of n elements, begin with a byte of their own.
func (g *blockTable) elements(c *Call, t *ir.Tensor, n int) ([]float64, error) {
	if t.DType() != ir.Uint8 {
		return c.floats(t)
	}
	b, err := t.Bytes()
	if err != nil || n == 0 {
		return nil, err
	}
	stride := (n*g.bits + 7) / 8
	r, err := alloc[float64](c, []int64{int64(len(b) / stride), int64(n)})
	for i := range r {
		r[i] = float64(bitsAt(b[i/n*stride:], i%n, g.bits))
	}
	return r, err
}

func (g *blockTable) at(i int) float64 {
	k := (i/g.inner/g.size*g.blocks+i/g.inner%g.size/g.block)*g.inner + i%g.inner
	zero := g.defaultPoint
	if g.zeros != nil {
		zero = g.zeros[k]
	}
	return float64((g.data[i] - zero) * g.scales[k])
}
