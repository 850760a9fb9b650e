package strip_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/strip"
)

func TestPass(t *testing.T) { passtest.Run(t, strip.Pass) }
