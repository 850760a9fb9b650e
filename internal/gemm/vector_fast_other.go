//go:build !amd64 || purego

package gemm

// No vectors: the callers' loops do everything.

func expFast(_, _ []float32) int                                { return 0 }
func sigmoidFast(_, _ []float32) int                            { return 0 }
func tanhFast(_, _ []float32) int                               { return 0 }
func erfFast(_, _ []float32) int                                { return 0 }
func geluFast(_, _ []float32) int                               { return 0 }
func siluFast(_, _ []float32) int                               { return 0 }
func addScalarFast(_, _ []float32, _ float32) int               { return 0 }
func subScalarFast(_, _ []float32, _ float32) int               { return 0 }
func mulScalarFast(_, _ []float32, _ float32) int               { return 0 }
func divScalarFast(_, _ []float32, _ float32) int               { return 0 }
func standardizeFast(_, _ []float32, _, _, _, _, _ float32) int { return 0 }
func clipFast(_, _ []float32, _, _ float32) int                 { return 0 }
func hardSigmoidFast(_, _ []float32, _, _ float32) int          { return 0 }
func hardSwishFast(_, _ []float32, _, _ float32) int            { return 0 }
func addFast(_, _, _ []float32) int                             { return 0 }
func subFast(_, _, _ []float32) int                             { return 0 }
func mulFast(_, _, _ []float32) int                             { return 0 }
func divFast(_, _, _ []float32) int                             { return 0 }
func maximumFast(_, _, _ []float32) int                         { return 0 }
func maxFast([]float32) (float32, int)                          { return negativeInf, 0 }
func sumFast([]float32) (float32, int)                          { return 0, 0 }
func squaresFast([]float32, float32) (float32, int)             { return 0, 0 }
func expSumFast(_, _ []float32, _ float32) (float32, int)       { return 0, 0 }
func normalizeFast(_, _, _, _ []float32, _, _ float32) int      { return 0 }
func transposeFast(_, _ []float32, _, _, _, _ int) (int, int)   { return 0, 0 }
