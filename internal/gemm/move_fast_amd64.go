//go:build amd64 && !purego

package gemm

import "unsafe"

// packRowsFast packs whole panels of a row-major matrix, and reports whether it could.
func packRowsFast[T element](kernel *microkernel, dst, src []T, k, stride, panels int) bool {
	if kernel.plain != nil {
		return false
	}
	elem := kernel.elem
	d, s := (*byte)(unsafe.Pointer(&dst[0])), (*byte)(unsafe.Pointer(&src[0]))
	switch width := kernel.nr() * elem; width {
	case 64:
		packRows64(d, s, k, stride*elem, panels, k*width)
	case 128:
		packRows128(d, s, k, stride*elem, panels, k*width)
	default:
		return false
	}
	return true
}

// transposeBlocks is transpose8 on pointers.
func transposeBlocks(dst, src unsafe.Pointer, blocks, dstStride, srcStride int) {
	transpose8((*byte)(dst), (*byte)(src), blocks, dstStride, srcStride)
}

// compact copies rows of width elements, stride apart, to the beginning of dst, one after another. Src has at least seven more
// elements than its last row.
func compact[T float32 | int32](kernel *microkernel, dst, src []T, rows, width, stride int) {
	if rows > 1 && kernel.plain == nil {
		// A whole vector written for one row may reach past the next few, which are written later, but not past the end.
		safe := rows - 1
		for safe > 0 && (safe-1)*width+roundUp(width, 8) > rows*width {
			safe--
		}
		if safe > 0 {
			_, _ = dst[rows*width-1], src[(safe-1)*stride+roundUp(width, 8)-1]
			compactRows((*byte)(unsafe.Pointer(&dst[0])), (*byte)(unsafe.Pointer(&src[0])), safe, 4*width, 4*stride)
			dst, src, rows = dst[safe*width:], src[safe*stride:], rows-safe
		}
	}
	compactPlain(dst, src, rows, width, stride)
}

func depthwiseRows(kernel *microkernel, a *depthwiseArgs) {
	switch {
	case kernel.plain != nil:
		depthwisePlain(a)
	case a.taps == 9:
		depthwise9((*byte)(unsafe.Pointer(a)))
	default:
		depthwiseTaps((*byte)(unsafe.Pointer(a)))
	}
}

// splitPlane is [splitPlain].
func splitPlane[T float32 | int32](kernel *microkernel, dst, src []T, rows, width, dstStride, srcStride, step int) {
	if kernel.plain != nil || width < 4 || step > 2 || (step == 2 && width < 8) {
		splitPlain(dst, src, rows, width, dstStride, srcStride, step)
		return
	}
	_, _ = dst[(rows-1)*dstStride+width-1], src[(rows-1)*srcStride+(width-1)*step]
	d, s := (*byte)(unsafe.Pointer(&dst[0])), (*byte)(unsafe.Pointer(&src[0]))
	switch {
	case step == 2:
		splitRows2(d, s, rows, width, 4*dstStride, 4*srcStride)
	case width <= 8:
		copyNarrow(d, s, rows, width, 4*dstStride, 4*srcStride)
	default:
		splitRows1(d, s, rows, width, 4*dstStride, 4*srcStride)
	}
}

// encodeFast flips bits in the first bytes of a row and returns how many it took and their sum as signed integers.
func encodeFast(kernel *microkernel, dst []int32, src unsafe.Pointer, k int, flip uint8) (done int, sum int32) {
	vectors := k / 32
	if kernel.plain != nil || vectors == 0 {
		return 0, 0
	}
	const each = 0x0101010101010101
	s := flipBytes((*byte)(unsafe.Pointer(&dst[0])), (*byte)(src), vectors, uint64(flip)*each, 0x80*each)
	return 32 * vectors, int32(s) - 128*32*int32(vectors)
}

// interleaveFast is [interleavePlain] for n of at least 8.
func interleaveFast(kernel *microkernel, dst []int32, src unsafe.Pointer, n, stride int, flip uint32) bool {
	if kernel.plain != nil || n < 8 {
		return false
	}
	_ = dst[n-1]
	d, s := (*byte)(unsafe.Pointer(&dst[0])), (*byte)(src)
	if kernel.group == 2 {
		interleave2(d, s, n, stride, flip)
	} else {
		interleave4(d, s, n, stride, flip)
	}
	return true
}
