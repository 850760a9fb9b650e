package kernel

import "github.com/onnxopt/onnxopt/ir"

// Numbers reads elements of any real type as float64.
func Numbers(t *ir.Tensor) ([]float64, error) {
	if isComplex(t.DType()) {
		return nil, nil
	}
	return floats(t)
}

// ContribOperators are the types of contribTable.
func ContribOperators() (r []string) {
	for _, row := range contribTable {
		r = append(r, row.typ)
	}
	return r
}

// Used is what a call has counted against its limit, in bytes.
func Used(c *Call) int64 { return c.used }
