package dce_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/dce"
)

func TestPass(t *testing.T) { passtest.Run(t, dce.Pass) }
