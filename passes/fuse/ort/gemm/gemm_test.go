package gemm_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/passes/fuse/ort/gemm"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, gemm.Pass, passtest.In(orttest.Engines(t)...)) }
