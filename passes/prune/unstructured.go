package prune

import (
	"errors"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

func unstructured(c *passes.Context, m *ir.Model, o Options) error {
	return errors.New("not there yet")
}
