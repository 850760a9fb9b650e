package downscale

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, Pass) }
