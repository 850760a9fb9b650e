package deadchannels_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/deadchannels"
)

func TestPass(t *testing.T) { passtest.Run(t, deadchannels.Pass) }
