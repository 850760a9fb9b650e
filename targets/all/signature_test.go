package all_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// signatures reads of .tflite files what LiteRT's interpreter says of their signature, and their metadata.
const signatures = `
import json, sys
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
for path in json.load(sys.stdin):
    m = Interpreter(model_path=path)
    runner = m.get_signature_runner()
    model = schema.Model.GetRootAs(open(path, 'rb').read(), 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    port = lambda d: {k: [int(x) for x in v['shape']] for k, v in d.items()}
    print(json.dumps({'keys': list(m.get_signature_list()), 'inputs': port(runner.get_input_details()), 'outputs': port(runner.get_output_details()),
                      'metadata': {e.Name().decode(): bytes(model.Buffers(e.Buffer()).DataAsNumpy()).decode() for e in entries}}))
`

// TestSignatures has the interpreter call inputs and outputs by their names in the model, whatever these are, and the metadata say how they
// lie there.
func TestSignatures(t *testing.T) {
	ctx := context.Background()
	p := python(t, consumer.Lookup("litert"))
	target, _ := all.Lookup("tflite")
	dir := t.TempDir()
	var files []string
	var wants []map[string][]string
	each(t, "", func(t *testing.T, c *targettest.Case) bool {
		if c.Name != "digits" && c.Name != "ultraface-RFB-320" && c.Name != "basic-pitch-nmp" && c.Name != "tract-byte-bidi-lstm" {
			return false
		}
		e, err := c.Emit(ctx, target, "", dir)
		require.NoError(t, err)
		files = append(files, e.Path(""))
		wants = append(wants, map[string][]string{"inputs": slices.Sorted(maps.Keys(c.Inputs)), "outputs": slices.Sorted(maps.Keys(c.Want))})
		return true
	})
	for i, name := range hostile {
		m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 18]> g (float[1,2,3,4] x) => (float[1,2,1,2] y) <float[2,2,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> { y = Conv (x, w) }`))
		require.NoError(t, err)
		m.Main.Inputs()[0].SetName(name)
		m.Main.Outputs()[0].SetName(name + "'")
		a := &targettest.Folder{Dir: dir, Base: string(rune('a'+i)) + ".tflite"}
		e, err := target.Emitter("tflite", a)
		require.NoError(t, err)
		_, err = e.Run(ctx, m, passes.Config{})
		require.NoError(t, err)
		require.NoError(t, a.Close())
		files = append(files, filepath.Join(dir, a.Base))
		wants = append(wants, map[string][]string{"inputs": {name}, "outputs": {name + "'"}})
	}
	in, err := json.Marshal(files)
	require.NoError(t, err)
	script := filepath.Join(t.TempDir(), "signatures.py")
	require.NoError(t, os.WriteFile(script, []byte(signatures), 0o666))
	cmd := exec.Command(p, script)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	require.Len(t, lines, len(files))
	for i, line := range lines {
		var got struct {
			Keys            []string
			Inputs, Outputs map[string][]int64
			Metadata        map[string]string
		}
		require.NoError(t, json.Unmarshal(line, &got), "%s", line)
		assert.Equal(t, []string{"serving_default"}, got.Keys)
		assert.Equal(t, wants[i]["inputs"], slices.Sorted(maps.Keys(got.Inputs)), files[i])
		assert.Equal(t, wants[i]["outputs"], slices.Sorted(maps.Keys(got.Outputs)), files[i])
		var layout map[string]map[string][]int
		require.NoError(t, json.Unmarshal([]byte(got.Metadata["onnxopt.layout"]), &layout), files[i])
		if i >= len(files)-len(hostile) { // a picture of two channels, three rows and four columns
			assert.Equal(t, map[string][]int64{wants[i]["inputs"][0]: {1, 3, 4, 2}}, got.Inputs)
			assert.Equal(t, []int{0, 2, 3, 1}, layout["input"][wants[i]["inputs"][0]])
			assert.Equal(t, []int{0, 2, 3, 1}, layout["output"][wants[i]["outputs"][0]])
		}
	}
}
