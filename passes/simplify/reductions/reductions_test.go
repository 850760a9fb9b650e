package reductions_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/reductions"
)

func TestPass(t *testing.T) { passtest.Run(t, reductions.Pass) }
