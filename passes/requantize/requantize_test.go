package requantize_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/requantize"
)

func TestPass(t *testing.T) { passtest.Run(t, requantize.Pass, passtest.In(orttest.Engines(t)...)) }
