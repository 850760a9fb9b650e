package randomize_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/randomize"
)

func TestPass(t *testing.T) { passtest.Run(t, randomize.Pass) }
