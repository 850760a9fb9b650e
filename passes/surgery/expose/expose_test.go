package expose_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/expose"
)

func TestPass(t *testing.T) { passtest.Run(t, expose.Pass) }
