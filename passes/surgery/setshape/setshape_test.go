package setshape_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/setshape"
)

func TestPass(t *testing.T) { passtest.Run(t, setshape.Pass) }
