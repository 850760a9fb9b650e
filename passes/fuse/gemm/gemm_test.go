package gemm_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/gemm"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, gemm.Pass) }
