package decompose

import (
	"testing"

	"github.com/onnxopt/onnxopt/analysis/measured/measuredtest"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, Pass, passtest.Data(measuredtest.Generated(10))) }
