package convbn_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/convbn"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, convbn.Pass) }
