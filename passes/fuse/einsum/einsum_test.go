package einsum_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/einsum"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, einsum.Pass) }
