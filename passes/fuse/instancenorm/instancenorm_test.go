package instancenorm_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/passes/fuse/instancenorm"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, instancenorm.Pass, passtest.In(orttest.Engines(t)...)) }
