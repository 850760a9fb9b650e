package relayout_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/relayout"
)

func TestPass(t *testing.T) { passtest.Run(t, relayout.Pass) }
