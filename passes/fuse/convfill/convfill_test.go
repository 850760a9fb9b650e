package convfill_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/fuse/convfill"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, convfill.Pass) }
