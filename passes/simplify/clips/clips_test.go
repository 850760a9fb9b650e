package clips_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/simplify/clips"
)

func TestPass(t *testing.T) { passtest.Run(t, clips.Pass) }
