package blockwise

// Target is a weight that is being quantized, for those who solve it.
type Target struct{ *target }

// Solution is a quantized weight: steps [n, k] and a grid for each block [n, blocks].
type Solution = solution
