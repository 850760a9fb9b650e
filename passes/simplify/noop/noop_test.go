package noop_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/noop"
)

func TestPass(t *testing.T) { passtest.Run(t, noop.Pass) }
