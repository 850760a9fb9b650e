package expands_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/expands"
)

func TestPass(t *testing.T) { passtest.Run(t, expands.Pass) }
