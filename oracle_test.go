package onnxopt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
)

// job is what testdata/oracle/compare.py reads.
type job struct {
	Name      string             `json:"name"`
	Before    string             `json:"before"`
	After     string             `json:"after"`
	Tolerance float64            `json:"tolerance"`
	Shapes    map[string][]int64 `json:"shapes,omitempty"`
	Logits    bool               `json:"logits,omitempty"`
}

// smallSigmoids are models whose outputs are sigmoids near 0 on the inputs of this test: there ONNX Runtime's Sigmoid is off by up
// to 2e-3 of the largest output, and its own optimizations and those of all peers change it by 3e-3. What is compared is the
// sigmoid's operand.
var smallSigmoids = []string{"ppocrv4-det"}

// TestOracle optimizes the real models of ../shared, the model tests and the node tests with the command, and holds each
// result that is not the input itself to onnx.checker and to ONNX Runtime.
func TestOracle(t *testing.T) {
	python := os.Getenv("ONNXOPT_PYTHON")
	if python == "" {
		t.Skip("left out: ONNXOPT_PYTHON names no Python that has onnx and onnxruntime (.ci/run makes one)")
	}
	bin := build(t)
	models := append(unpacked(t, "onnx-model-tests"), unpacked(t, "onnx-node-tests")...)
	shapes := sharedShapes(t)
	shared, _ := filepath.Glob("../shared/models/*.onnx")
	if len(shared) == 0 {
		t.Log("left out: the models of ../shared are not there")
	}
	models = append(models, append(shared, "testdata/digits/digits.onnx")...)
	out := t.TempDir()
	var jobs []job
	for i, p := range models {
		name := strings.TrimSuffix(filepath.Base(p), ".onnx")
		if name == "model" {
			name = filepath.Base(filepath.Dir(p))
		}
		for level, tolerance := range map[string]float64{"-O1": 1e-5, "-O2": 1e-4} {
			j := job{name + " " + level, p, filepath.Join(out, fmt.Sprintf("%d%s.onnx", i, level)), tolerance, shapes[name], slices.Contains(smallSigmoids, name)}
			if strings.Contains(name, "int8") || strings.Contains(name, "quant") {
				j.Tolerance = 2e-2 // a step of the quantized output
			}
			if text, err := exec.Command(bin, level, "--verify=off", p, "-o", j.After).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", j.Name, err, text)
				continue
			}
			if !same(t, p, j.After) {
				jobs = append(jobs, j)
			}
		}
	}
	list := filepath.Join(out, "jobs.json")
	b, err := json.Marshal(jobs)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(list, b, 0o666))
	text, err := exec.Command(python, "testdata/oracle/compare.py", list).CombinedOutput()
	t.Logf("%s", text)
	require.NoError(t, err)
}

// TestSurgeryOracle does surgery on the real models of ../shared and on that of testdata and holds what comes out to onnx.checker and to the
// values that the whole models have in ONNX Runtime.
func TestSurgeryOracle(t *testing.T) {
	python := os.Getenv("ONNXOPT_PYTHON")
	if python == "" {
		t.Skip("left out: ONNXOPT_PYTHON names no Python that has onnx and onnxruntime (.ci/run makes one)")
	}
	models, _ := filepath.Glob("../shared/models/*.onnx")
	if len(models) == 0 {
		t.Log("left out: the models of ../shared are not there")
	}
	shapes := sharedShapes(t)
	type model struct {
		Name      string             `json:"name"`
		Path      string             `json:"path"`
		Shapes    map[string][]int64 `json:"shapes,omitempty"`
		Tolerance float64            `json:"tolerance"`
	}
	jobs := struct {
		Command string  `json:"command"`
		Folder  string  `json:"folder"`
		Models  []model `json:"models"`
	}{Command: build(t), Folder: t.TempDir()}
	for _, p := range append(models, "testdata/digits/digits.onnx") {
		j := model{strings.TrimSuffix(filepath.Base(p), ".onnx"), p, nil, 1e-4}
		if j.Shapes = shapes[j.Name]; strings.Contains(j.Name, "int8") || strings.Contains(j.Name, "quant") {
			j.Tolerance = 2e-2 // a step of the quantized output
		}
		jobs.Models = append(jobs.Models, j)
	}
	list := filepath.Join(t.TempDir(), "jobs.json")
	b, err := json.Marshal(jobs)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(list, b, 0o666))
	text, err := exec.Command(python, "testdata/oracle/surgery.py", list).CombinedOutput()
	t.Logf("%s", text)
	require.NoError(t, err)
}

// build builds the command once into a temporary folder.
func build(t *testing.T) string {
	bin := filepath.Join(t.TempDir(), "onnxopt")
	text, err := exec.Command("go", "build", "-o", bin, "./cmd/onnxopt").CombinedOutput()
	require.NoError(t, err, string(text))
	return bin
}

// sharedShapes are sizes for dynamic dimensions of the shared models.
func sharedShapes(t *testing.T) map[string]map[string][]int64 {
	r := map[string]map[string][]int64{}
	if b, err := os.ReadFile("../shared/accept/inputs.json"); err == nil {
		require.NoError(t, json.Unmarshal(b, &r))
	}
	return r
}

// same reports whether two files hold the same bytes.
func same(t *testing.T, a, b string) bool {
	x, err := os.ReadFile(a)
	require.NoError(t, err)
	y, err := os.ReadFile(b)
	require.NoError(t, err)
	return bytes.Equal(x, y)
}

// unpacked unpacks an archive of conformance tests and lists its models.
func unpacked(t *testing.T, archive string) []string {
	models, err := filepath.Glob(filepath.Join(conformance.Unpack(t, conformance.Archive(t, archive)), "*", "*", "model.onnx"))
	require.NoError(t, err)
	return models
}
