package precision_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/precision"
)

func TestPass(t *testing.T) { passtest.Run(t, precision.Pass) }
