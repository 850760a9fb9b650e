package ifconst_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/ifconst"
)

func TestPass(t *testing.T) { passtest.Run(t, ifconst.Pass) }
