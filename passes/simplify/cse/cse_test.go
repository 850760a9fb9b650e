package cse_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/cse"
)

func TestPass(t *testing.T) { passtest.Run(t, cse.Pass) }
