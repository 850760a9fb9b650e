package extract_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/extract"
)

func TestPass(t *testing.T) { passtest.Run(t, extract.Pass) }
