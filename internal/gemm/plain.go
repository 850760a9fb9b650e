package gemm

import "unsafe"

// The plain tiles: the specification of the micro-kernels, and what runs where there is no assembly.

const plainRows, plainLanes = 4, 8

func plainKernel[T float32 | float64]() *microkernel {
	var zero T
	return &microkernel{name: "plain", elem: int(unsafe.Sizeof(zero)), rows: []int{plainRows}, lanes: plainLanes, group: 1, plain: plainTile[T]}
}

// at returns the element of type T at p plus a number of bytes.
func at[T any](p unsafe.Pointer, bytes int) *T { return (*T)(unsafe.Add(p, bytes)) }

// bRow returns where row p of B begins.
func (t *tile) bRow(p int) unsafe.Pointer {
	if t.offsets != nil && !t.onA {
		return unsafe.Add(t.b, t.offset(p))
	}
	return unsafe.Add(t.b, p*t.bStep)
}

// aColumn returns where column p of A begins.
func (t *tile) aColumn(p int) unsafe.Pointer {
	if t.offsets != nil && t.onA {
		return unsafe.Add(t.a, t.offset(p))
	}
	return unsafe.Add(t.a, p*t.aStep)
}

func (t *tile) offset(p int) int { return *at[int](unsafe.Pointer(t.offsets), p*int(unsafe.Sizeof(p))) }

// plainTile sums each element's products in the order of k, with separate multiplication and addition.
func plainTile[T float32 | float64](t *tile, rows, cols int) {
	elem := int(unsafe.Sizeof(*new(T)))
	lo, hi := *at[T](unsafe.Pointer(&t.lo), 0), *at[T](unsafe.Pointer(&t.hi), 0)
	for i := range rows {
		var sum [2 * plainLanes]T
		for p := range t.k {
			a := *at[T](t.aColumn(p), i*t.aRow)
			b := (*[2 * plainLanes]T)(t.bRow(p))
			for j := range sum {
				sum[j] += T(a * b[j])
			}
		}
		for j := range cols {
			c := at[T](t.c, i*t.cRow+j*elem)
			v := sum[j]
			if t.flags&flagAccumulate != 0 {
				v += *c
			}
			if t.rowBias != nil {
				v += *at[T](t.rowBias, i*elem)
			}
			if t.colBias != nil {
				v += *at[T](t.colBias, j*elem)
			}
			if t.flags&flagClamp != 0 {
				v = clamp(v, lo, hi)
			}
			*c = v
		}
	}
}

// plainQuadTile multiplies groups of four signed bytes of A and unsigned bytes of B into wrapping int32 sums.
func plainQuadTile(t *tile, rows, cols int) {
	for i := range rows {
		for j := range cols {
			var sum int32
			for p := range t.k {
				a := at[[4]int8](t.a, i*t.aRow+p*t.aStep)
				b := at[[4]uint8](t.bRow(p), 4*j)
				for q := range a {
					sum += int32(a[q]) * int32(b[q])
				}
			}
			c := at[int32](t.c, i*t.cRow+j*4)
			if t.flags&flagAccumulate != 0 {
				sum += *c
			}
			if t.rowBias != nil {
				sum += *at[int32](t.rowBias, i*4)
			}
			if t.colBias != nil {
				sum += *at[int32](t.colBias, j*4)
			}
			*c = sum
		}
	}
}

func plainQuadKernel() *microkernel {
	return &microkernel{name: "plain", elem: 4, rows: []int{plainRows}, lanes: plainLanes, group: 4, plain: plainQuadTile}
}
