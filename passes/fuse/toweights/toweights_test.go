package toweights_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/toweights"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, toweights.Pass) }
