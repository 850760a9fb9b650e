package kernel

// number lists the types in which matrix products and convolutions are computed.
type number interface {
	float32 | float64 | int32 | int64 | uint32 | uint64
}

// Block sizes of gemm: a block of b stays in the second-level cache while all rows of a pass over it.
const (
	gemmCols  = 512
	gemmDepth = 64
)

// gemm adds the product of a [m,k] and b [k,n] to dst [m,n], all row-major. Each element of dst is the sum of its products in
// order of rising k, every product and every sum rounded to T; this is the specification of all faster matrix products but
// for the rounding.
func gemm[T number](c *Call, dst, a, b []T, m, k, n int) error {
	if n < 8 {
		return gemmNarrow(c, dst, a, b, m, k, n)
	}
	for j := 0; j < n; j += gemmCols {
		cols := min(gemmCols, n-j)
		for p := 0; p < k; p += gemmDepth {
			depth := min(gemmDepth, k-p)
			for i := range m {
				gemmRow(dst[i*n+j:i*n+j+cols], a[i*k+p:i*k+p+depth], b[p*n+j:], n)
				if err := c.tick(depth * cols); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// gemmRow adds to dst the combination of len(a) rows of b, which are n apart, with the coefficients a.
func gemmRow[T number](dst, a, b []T, n int) {
	for ; len(a) >= 4; a = a[4:] {
		a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
		b0, b1, b2, b3 := b[:len(dst)], b[n:][:len(dst)], b[2*n:][:len(dst)], b[3*n:][:len(dst)]
		for j, d := range dst {
			d += T(a0 * b0[j])
			d += T(a1 * b1[j])
			d += T(a2 * b2[j])
			d += T(a3 * b3[j])
			dst[j] = d
		}
		if len(a) > 4 {
			b = b[4*n:]
		}
	}
	for i, x := range a {
		row := b[i*n:][:len(dst)]
		for j, y := range row {
			dst[j] += T(x * y)
		}
	}
}

// gemmNarrow is gemm for few columns: scalar products in the same order.
func gemmNarrow[T number](c *Call, dst, a, b []T, m, k, n int) error {
	col := make([]T, k)
	for j := range n {
		for p := range col {
			col[p] = b[p*n+j]
		}
		for i := range m {
			s := dst[i*n+j]
			for p, x := range a[i*k : (i+1)*k] {
				s += T(x * col[p])
			}
			dst[i*n+j] = s
			if err := c.tick(k); err != nil {
				return err
			}
		}
	}
	return nil
}
