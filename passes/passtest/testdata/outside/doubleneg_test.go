package outside_test

import (
	"testing"

	"example.com/outside"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, outside.Pass) }
