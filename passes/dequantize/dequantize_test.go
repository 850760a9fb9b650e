package dequantize_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/passes/dequantize"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, dequantize.Pass, passtest.In(orttest.Engines(t)...)) }
