package dedup_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/dedup"
)

func TestPass(t *testing.T) { passtest.Run(t, dedup.Pass) }
