package evaluate

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/onnxio"
)

// top1 counts the samples that a model gets right.
func top1(t *testing.T, model, data string, limit, batch, threads int, image ...dataset.Setting) int {
	t.Helper()
	f, err := onnxio.Open(model, onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	s, err := dataset.Open(data, dataset.Options{Inputs: dataset.Inputs(f.Model), Image: image})
	require.NoError(t, err)
	defer s.Close()
	m, err := metric.New("top1", dataset.Outputs(f.Model), metric.Options{})
	require.NoError(t, err)
	n, err := Run(context.Background(), Request{
		Engine: native.New(), Model: f.Model, Set: s, Meters: []metric.Meter{m}, Batch: batch, Threads: threads, Limit: limit,
	})
	require.NoError(t, err)
	require.Equal(t, limit, n)
	return int(math.Round(m.Value() * float64(n)))
}

// TestDigits: neither batches nor threads change what is measured.
func TestDigits(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "digits")
	want := top1(t, filepath.Join(dir, "digits.onnx"), dir, 250, 1, 1)
	require.GreaterOrEqual(t, want, 243)
	for _, batch := range []int{1, 7, 64} {
		require.Equal(t, want, top1(t, filepath.Join(dir, "digits.onnx"), dir, 250, batch, 3))
	}
}

// TestRealData holds the first samples of real data sets to what ONNX Runtime 1.32 gets right of them. Photographs are JPEG files, which
// Go decodes a little differently from libjpeg, so that one of them may come out differently.
func TestRealData(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "shared")
	if _, err := os.Stat(filepath.Join(shared, "data")); err != nil {
		t.Skip("left out: the real data of ../shared/data are not here")
	}
	for _, c := range []struct {
		model, data string
		limit, want int
		slack       float64
		image       []dataset.Setting
	}{
		{"mnist-8", "mnist", 500, 493, 0, nil},
		{"mnist-ort-dynquant", "mnist", 200, 199, 0, []dataset.Setting{{Key: "scale", Value: "1/255"}}},
		{"resnet8-cifar10", "cifar10/test_2000.bin", 100, 69, 0, nil},
		{"squeezenet-fp16-winml", "imagenet300/val", 10, 7, 1, []dataset.Setting{{Key: "preset", Value: "caffe-bgr"}}},
	} {
		t.Run(c.model, func(t *testing.T) {
			limit := c.limit
			model, data := filepath.Join(shared, "models", c.model+".onnx"), filepath.Join(shared, "data", filepath.FromSlash(c.data))
			require.InDelta(t, c.want, top1(t, model, data, limit, 1, 2, c.image...), c.slack)
		})
	}
}

// TestSentencePairs holds the first pairs of a benchmark to what ONNX Runtime 1.32 gives, each sentence by itself.
func TestSentencePairs(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "shared")
	if _, err := os.Stat(filepath.Join(shared, "data")); err != nil {
		t.Skip("left out: the real data of ../shared/data are not here")
	}
	f, err := onnxio.Open(filepath.Join(shared, "models", "minilm-l2-trimvocab-fp32.onnx"), onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	s, err := dataset.Open(filepath.Join(shared, "data", "sts", "stsb-en-test.trimids.tsv"), dataset.Options{Inputs: dataset.Inputs(f.Model)})
	require.NoError(t, err)
	defer s.Close()
	m, err := metric.New("spearman", dataset.Outputs(f.Model), metric.Options{})
	require.NoError(t, err)
	_, err = Run(context.Background(), Request{Engine: native.New(), Model: f.Model, Set: s, Meters: []metric.Meter{m}, Batch: 4, Threads: 2, Limit: 300})
	require.NoError(t, err)
	require.InDelta(t, 0.559552, m.Value(), 1e-4)
}

// TestErrors: what a metric lacks, and which sample does not run.
func TestErrors(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "digits")
	f, err := onnxio.Open(filepath.Join(dir, "digits.onnx"), onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	s, err := dataset.Open(dir, dataset.Options{Inputs: dataset.Inputs(f.Model)})
	require.NoError(t, err)
	defer s.Close()
	m, err := metric.New("agreement", dataset.Outputs(f.Model), metric.Options{})
	require.NoError(t, err)
	q := Request{Engine: native.New(), Model: f.Model, Set: s, Meters: []metric.Meter{m}, Batch: 8, Threads: 2}
	_, err = Run(context.Background(), q)
	require.ErrorContains(t, err, "needs a reference model")
	q.MaxMemory = 100
	_, err = Run(context.Background(), q)
	require.ErrorContains(t, err, "sample 0: the memory limit is exceeded")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Run(ctx, q)
	require.ErrorIs(t, err, context.Canceled)
}
