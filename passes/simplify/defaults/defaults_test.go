package defaults_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/defaults"
)

func TestPass(t *testing.T) { passtest.Run(t, defaults.Pass) }
