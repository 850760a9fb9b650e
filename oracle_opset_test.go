package onnxopt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/passes/opset"
)

// opsetSample is which of the node tests TestOracleOpset takes: every so many of them.
const opsetSample = 5

// TestOracleOpset converts a sample of the node tests, the model tests and the real models of ../shared to other versions of the
// operator set, and holds the results to onnx.checker and to ONNX Runtime.
func TestOracleOpset(t *testing.T) {
	python := os.Getenv("ONNXOPT_PYTHON")
	if python == "" {
		t.Skip("left out: ONNXOPT_PYTHON names no Python that has onnx and onnxruntime (.ci/run makes one)")
	}
	reg, err := all.Registry()
	require.NoError(t, err)
	var models []string
	for i, p := range unpacked(t, "onnx-node-tests") {
		if i%opsetSample == 0 {
			models = append(models, p)
		}
	}
	models = append(models, unpacked(t, "onnx-model-tests")...)
	shapes := sharedShapes(t)
	shared, _ := filepath.Glob("../shared/models/*.onnx")
	if len(shared) == 0 {
		t.Log("left out: the models of ../shared are not there")
	}
	models = append(models, shared...)
	out := t.TempDir()
	var jobs []map[string]any
	refused := 0
	for i, p := range models {
		name := strings.TrimSuffix(filepath.Base(p), ".onnx")
		if name == "model" {
			name = filepath.Base(filepath.Dir(p))
		}
		if strings.Contains(name, "bernoulli") || name == "test_mvn" {
			continue // random; from 18 on the checker does not give the function of MeanVarianceNormalization its default axes
		}
		for _, to := range []int64{11, 13, 17, 21} {
			after := filepath.Join(out, fmt.Sprintf("%d-%d.onnx", i, to))
			err := convertFile(reg, p, after, to)
			var e *opset.Error
			switch {
			case errors.As(err, &e):
				refused++
			case errors.Is(err, errSameOpset):
			default:
				require.NoError(t, err, "%s to %d", name, to)
				jobs = append(jobs, map[string]any{"name": fmt.Sprintf("%s to %d", name, to), "before": p, "after": after, "tolerance": 1e-4,
					"shapes": shapes[name], "logits": slices.Contains(smallSigmoids, name), "recorded": strings.HasSuffix(p, "model.onnx")})
			}
		}
	}
	list := filepath.Join(out, "jobs.json")
	b, err := json.Marshal(jobs)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(list, b, 0o666))
	text, err := exec.Command(python, "testdata/oracle/compare.py", list).CombinedOutput()
	t.Logf("%s%d conversions are refused", text, refused)
	require.NoError(t, err)
}

var errSameOpset = errors.New("the model is in that version")

func convertFile(reg *passes.Registry, in, out string, to int64) error {
	f, err := onnxio.Open(in, onnxio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	if v := f.Model.Opset(""); v == to || v == 0 {
		return errSameOpset
	}
	p, err := reg.Parse(fmt.Sprintf("opset{to=%d}", to))
	if err != nil {
		return err
	}
	if _, err := p.Run(context.Background(), f.Model, passes.Config{}); err != nil {
		return err
	}
	_, err = onnxio.WriteFile(out, f.Model, onnxio.WriteOptions{})
	return err
}
