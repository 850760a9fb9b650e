package compare

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// Tolerance says which differences of an output are admitted. Integers, bools and strings are equal unless Steps says
// otherwise. The zero Tolerance admits no difference in value; −0 and 0 have one value.
type Tolerance struct {
	Exact bool    // the same bits: an exact promise in engine/native
	Rel   float64 // floats: the bound of Diff.Rel
	Abs   float64 // floats: a difference of at most this is admitted whatever Rel says
	Steps float64 // integers: how many steps an element may be off
}

// Check returns nil if t admits d, and otherwise an error that says what is wrong.
func (t Tolerance) Check(d Diff) error {
	switch {
	case d.Unlike != "":
		return fmt.Errorf("%s", d.Unlike)
	case d.Bits:
		return nil
	case t.Exact:
		return fmt.Errorf("%s where the bits have to be equal", d)
	case d.Steps > t.Steps:
		return fmt.Errorf("%s, admitted is %g", d, t.Steps)
	case d.Rel > t.Rel && d.Abs > t.Abs:
		return fmt.Errorf("%s, admitted is %.3g", d, t.Rel)
	}
	return nil
}

// O2 is the tolerance of -O2 for outputs of a type that no quantization precedes: 5e-3 for floats of 16 bits and less,
// 1e-4 for others.
func O2(d ir.DType) Tolerance {
	if d.IsFloat() && d.Bits() <= 16 {
		return Tolerance{Rel: 5e-3}
	}
	return Tolerance{Rel: 1e-4}
}

// Widen returns the weaker bound of t and u in each respect.
func (t Tolerance) Widen(u Tolerance) Tolerance {
	return Tolerance{Exact: t.Exact && u.Exact, Rel: max(t.Rel, u.Rel), Abs: max(t.Abs, u.Abs), Steps: max(t.Steps, u.Steps)}
}
