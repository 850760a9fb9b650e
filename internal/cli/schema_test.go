package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/jsonschema"
)

var update = flag.Bool("update", false, "write docs/schema anew")

// TestSchemasFresh: the published schemas are those of the types. go test ./internal/cli -run TestSchemasFresh -update writes them.
func TestSchemasFresh(t *testing.T) {
	for name, v := range schemas() {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(jsonschema.Of("onnxopt "+name+" --json", v)))
		file := filepath.Join("../../docs/schema", name+".json")
		if *update {
			require.NoError(t, os.WriteFile(file, b.Bytes(), 0o666))
			continue
		}
		have, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, b.String(), string(have), "%s: run go test ./internal/cli -run TestSchemasFresh -update", name)
	}
}

// TestSchemasHold: what the command prints keeps to its schema, by the rules that the schemas use.
func TestSchemasHold(t *testing.T) {
	const digits = "../../testdata/digits/digits.onnx"
	for name, args := range map[string][]string{
		"optimize": {digits, "--json", "-q"}, "inspect": {"inspect", digits, "--json"}, "diff": {"diff", digits, digits, "--json"},
		"audit": {"audit", digits, "--json"}, "verify": {"verify", digits, digits, "--json"}, "version": {"version", "--json"},
		"targets": {"targets", "--json"}, "failure": {"nothing.onnx", "--json"},
	} {
		bin := filepath.Join(t.TempDir(), "onnxopt")
		own, err := os.Executable()
		require.NoError(t, err)
		if runtime.GOOS == "windows" {
			t.Skip("left out: links take a privilege on Windows")
		}
		require.NoError(t, os.Symlink(own, bin))
		out, _ := exec.Command(bin, args...).Output() // failure ends with 1
		var v any
		require.NoError(t, json.Unmarshal(out, &v), "%s: %s", name, out)
		b, err := os.ReadFile(filepath.Join("../../docs/schema", name+".json"))
		require.NoError(t, err)
		var s map[string]any
		require.NoError(t, json.Unmarshal(b, &s))
		require.Empty(t, violations(s, s, v, name))
		if o, ok := v.(map[string]any); ok { // and the check finds what is missing
			for k := range o {
				o[k] = map[string]any{}
			}
			require.NotEmpty(t, violations(s, s, o, name))
		}
	}
}

// violations are places where v does not keep to schema s.
func violations(root, s map[string]any, v any, at string) (bad []string) {
	if ref, ok := s["$ref"].(string); ok {
		return violations(root, root["$defs"].(map[string]any)[filepath.Base(ref)].(map[string]any), v, at)
	}
	if choices, ok := s["anyOf"].([]any); ok {
		for _, x := range choices {
			if len(violations(root, x.(map[string]any), v, at)) == 0 {
				return nil
			}
		}
		return []string{at}
	}
	types, _ := s["type"].([]any)
	if one, ok := s["type"].(string); ok {
		types = []any{one}
	}
	fits := len(types) == 0
	for _, x := range types {
		switch v := v.(type) {
		case nil:
			fits = fits || x == "null"
		case bool:
			fits = fits || x == "boolean"
		case string:
			fits = fits || x == "string"
		case float64:
			fits = fits || x == "number" || x == "integer" && v == float64(int64(v))
		case []any:
			fits = fits || x == "array"
		case map[string]any:
			fits = fits || x == "object"
		}
	}
	if !fits {
		return []string{at}
	}
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			bad = append(bad, violations(root, s["items"].(map[string]any), x, at+"[]")...)
		}
	case map[string]any:
		for _, k := range asList(s["required"]) {
			if _, ok := v[k.(string)]; !ok {
				bad = append(bad, at+"."+k.(string)+" is missing")
			}
		}
		props, _ := s["properties"].(map[string]any)
		more, _ := s["additionalProperties"].(map[string]any)
		for k, x := range v {
			switch p, ok := props[k].(map[string]any); {
			case ok:
				bad = append(bad, violations(root, p, x, at+"."+k)...)
			case more != nil:
				bad = append(bad, violations(root, more, x, at+"."+k)...)
			case props != nil:
				bad = append(bad, at+"."+k+" is not in the schema")
			}
		}
	}
	return bad
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}
