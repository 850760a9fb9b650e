// Package linalg is the dense algebra of lossy passes: least squares by normal equations, symmetric eigenvalues, orthonormal bases,
// truncated singular value decompositions, and the CP and Tucker decompositions of tensors.
//
// Products run on the assembly kernels of internal/gemm; small dense problems (a few hundred rows) go to gonum. Everything that
// a decision rests on is summed in float64. Results are the same for the same seed whatever the number of workers; on another
// processor they may differ in the last bits, as the kernels of internal/gemm do.
//
// Data that is not finite is an error (ErrNotFinite), sizes that do not fit together are a programming error and panic.
package linalg

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFinite says that an operand holds NaN or an infinity.
	ErrNotFinite = errors.New("a number is NaN or infinite")
	// ErrNotPositive says that a matrix is not positive definite to working precision.
	ErrNotPositive = errors.New("the matrix is not positive definite")
)

// A RankError says that a rank is not between 1 and the largest that the operand can have.
type RankError struct{ Rank, Max int }

func (e *RankError) Error() string {
	return fmt.Sprintf("rank %d is not between 1 and %d", e.Rank, e.Max)
}
