package subneg_test

import (
	"testing"

	"example.com/custompass/subneg"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, subneg.Pass) }
