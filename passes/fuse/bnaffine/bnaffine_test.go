package bnaffine_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/bnaffine"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, bnaffine.Pass) }
