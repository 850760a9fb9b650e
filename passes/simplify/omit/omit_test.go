package omit_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/omit"
)

func TestPass(t *testing.T) { passtest.Run(t, omit.Pass) }
