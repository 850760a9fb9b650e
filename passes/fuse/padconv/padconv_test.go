package padconv_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/padconv"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, padconv.Pass) }
