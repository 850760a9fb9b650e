package constfold_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/constfold"
)

func TestPass(t *testing.T) { passtest.Run(t, constfold.Pass) }
