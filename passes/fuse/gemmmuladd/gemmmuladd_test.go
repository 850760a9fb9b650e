package gemmmuladd_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/gemmmuladd"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, gemmmuladd.Pass) }
