package tune_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/tune"
)

// TestSurvey: types are offered by group; a model in float16 is offered float32 instead; static quantization is for the profile.
func TestSurvey(t *testing.T) {
	f, err := onnxio.Open("../testdata/digits/digits.onnx", onnxio.Options{})
	require.NoError(t, err)
	offered := func(pipeline string) string {
		m := f.Model.Clone()
		r, err := all.Registry()
		require.NoError(t, err)
		p, err := r.Parse(pipeline)
		require.NoError(t, err)
		_, err = p.Run(t.Context(), m, passes.Config{})
		require.NoError(t, err)
		s, err := tune.Survey(t.Context(), m, tune.SurveyOptions{Calib: true, Profile: "tflite"})
		require.NoError(t, err)
		var b strings.Builder
		for _, g := range s.Genes {
			for _, l := range g.Level[1:] {
				b.WriteString(g.Name + " " + l.Name + ": " + l.Pass + "\n")
			}
		}
		return b.String()
	}
	float := offered("O2")
	require.Contains(t, float, "group 1: precision float16: precision\n")
	require.Contains(t, float, "quantize static: quantize{mode=static objective=size profile=tflite}\n")
	require.NotContains(t, float, "to=float32")
	half := offered("O2,precision{keep-io=false}")
	require.Contains(t, half, "precision float32: precision{to=float32}\n")
	require.NotContains(t, half, "float16")
}
