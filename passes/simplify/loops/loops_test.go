package loops_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/loops"
)

func TestPass(t *testing.T) { passtest.Run(t, loops.Pass) }
