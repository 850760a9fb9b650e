package reshapes_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/reshapes"
)

func TestPass(t *testing.T) { passtest.Run(t, reshapes.Pass) }
