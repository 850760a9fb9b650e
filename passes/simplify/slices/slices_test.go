package slices_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/slices"
)

func TestPass(t *testing.T) { passtest.Run(t, slices.Pass) }
