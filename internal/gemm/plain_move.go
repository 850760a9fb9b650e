package gemm

// compactPlain copies rows of width elements, stride apart in src, one after another to dst.
func compactPlain[T any](dst, src []T, rows, width, stride int) {
	for r := range rows {
		copy(dst[r*width:][:width], src[r*stride:])
	}
}
