package inline_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/inline"
)

func TestPass(t *testing.T) { passtest.Run(t, inline.Pass) }
