package rename_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/rename"
)

func TestPass(t *testing.T) { passtest.Run(t, rename.Pass) }
