package opset_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/opset"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, opset.Pass) }
