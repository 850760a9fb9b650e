package containers_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/containers"
)

func TestPass(t *testing.T) { passtest.Run(t, containers.Pass) }
