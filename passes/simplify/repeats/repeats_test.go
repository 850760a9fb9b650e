package repeats_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/repeats"
)

func TestPass(t *testing.T) { passtest.Run(t, repeats.Pass, passtest.In(orttest.Engines(t)...)) }
