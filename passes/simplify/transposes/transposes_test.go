package transposes_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/transposes"
)

func TestPass(t *testing.T) { passtest.Run(t, transposes.Pass) }
