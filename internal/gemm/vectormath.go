package gemm

import "math"

var negativeInf, positiveInf = float32(math.Inf(-1)), float32(math.Inf(1))
