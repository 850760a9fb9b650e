package transplace_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/transplace"
)

func TestPass(t *testing.T) { passtest.Run(t, transplace.Pass) }
