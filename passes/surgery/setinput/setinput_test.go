package setinput_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/setinput"
)

func TestPass(t *testing.T) { passtest.Run(t, setinput.Pass) }
