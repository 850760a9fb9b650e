package outputs_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/outputs"
)

func TestPass(t *testing.T) { passtest.Run(t, outputs.Pass) }
