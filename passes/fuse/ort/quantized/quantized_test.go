package quantized_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/passes/fuse/ort/quantized"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, quantized.Pass, passtest.In(orttest.Engines(t)...)) }
