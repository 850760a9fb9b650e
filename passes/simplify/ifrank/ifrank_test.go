package ifrank_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/ifrank"
)

func TestPass(t *testing.T) { passtest.Run(t, ifrank.Pass) }
