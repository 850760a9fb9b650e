package retype_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/retype"
)

func TestPass(t *testing.T) { passtest.Run(t, retype.Pass) }
