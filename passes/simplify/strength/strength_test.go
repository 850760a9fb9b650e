package strength_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/strength"
)

func TestPass(t *testing.T) { passtest.Run(t, strength.Pass) }
