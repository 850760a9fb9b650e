package identity_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/identity"
)

func TestPass(t *testing.T) { passtest.Run(t, identity.Pass) }
