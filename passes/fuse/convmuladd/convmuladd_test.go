package convmuladd_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/convmuladd"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, convmuladd.Pass) }
