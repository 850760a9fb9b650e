package gate

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	c, err := Parse([]byte(`
defaults: {opset: 13..21, audit: true}
models:
  - path: a/*.onnx
    max-bytes: 2M
    max-macs: 1.2G
    max-growth: 2.5%
    opset: 17
  - path: b.onnx
    ir-version: ..9
`))
	require.NoError(t, err)
	a, b := c.Models[0], c.Models[1]
	require.Equal(t, Bytes(2<<20), *a.MaxBytes)
	require.Equal(t, Count(1_200_000_000), *a.MaxMACs)
	require.Equal(t, Percent(2.5), *a.MaxGrowth)
	require.Equal(t, Range{17, 17}, *a.Opset)
	require.Equal(t, Range{13, 21}, *b.Opset, "the default")
	require.Equal(t, Range{0, 9}, *b.IRVersion)
	require.True(t, *b.Audit)
	require.Nil(t, b.MaxBytes)
	require.True(t, c.Covers("a/x.onnx"))
	require.False(t, c.Covers("a/b/x.onnx"))
}

func TestMistakes(t *testing.T) {
	for src, want := range map[string]string{
		"models: []":                                                   "it lists no models",
		"models: [{path: m.onnx, max-node: 3}]":                        `there is no key "max-node", did you mean "max-nodes"`,
		"models: [{max-nodes: 3}]":                                     "models[0] has no path",
		"models: [{path: ../m.onnx}]":                                  "no pattern below this folder",
		"models: [{path: m.onnx, max-bytes: many}]":                    "line 1",
		"models: [{path: m.onnx, max-macs: nan}]":                      "no number like",
		"models: [{path: m.onnx, opset: 17..13}]":                      "an empty range",
		"models: [{path: m.onnx, opset: x}]":                           "no range like",
		"models: [{path: m.onnx, max-growth: 5}]":                      "no percentage like",
		"models: [{path: m.onnx, targets: [tfite]}]":                   `did you mean "tflite"`,
		"models: [{path: m.onnx, max-drift: {bound: 1}}]":              "needs against",
		"models: [{path: m.onnx, max-drift: {against: a, bound: -1}}]": "is no bound",
		"models: [{path: m.onnx, max-nodes: x}]":                       `"x" where a number has to be`,
		"a: [":                                                         "did not find expected",
		"models: [{path: m.onnx}]\n---\nx: 1":                          "more than one document",
		"models: [null]":                                               "models[0] has no path",
	} {
		_, err := Parse([]byte(src))
		require.ErrorContains(t, err, want, src)
		require.NotContains(t, err.Error(), "\n", src)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("defaults: {opset: 13..21, audit: true}\nmodels:\n  - path: a/*.onnx\n    max-bytes: 2M\n    max-macs: 1.2G\n    max-growth: 2.5%\n"))
	f.Add([]byte("models: [{path: m.onnx, max-drift: {against: a, bound: 1e-3}, targets: [tflite]}]"))
	f.Add([]byte("a: &a [*a, *a]\nmodels: *a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		require.NotEmpty(t, c.Models)
		for _, e := range c.Models {
			require.NotEmpty(t, e.Path)
			if e.MaxMACs != nil {
				require.GreaterOrEqual(t, *e.MaxMACs, Count(0))
			}
			if e.Opset != nil {
				require.LessOrEqual(t, e.Opset.Min, e.Opset.Max)
			}
		}
	})
}

// result has an outcome of each state.
func result() *Result {
	return &Result{Numbers: map[string]Numbers{"m.onnx": {Nodes: 12}}, Outcomes: []Outcome{
		{Model: "m.onnx", Rule: "max-nodes", State: Violated, Text: "12 <nodes>", Value: 12, Limit: 10},
		{Model: "m.onnx", Rule: "allowed-ops", State: Known, Node: "n&m", Text: "no"},
		{Model: "m.onnx", Rule: "opset", State: OK, Text: "17"},
	}}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, result().JUnit(&b))
	var back struct {
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Tests int    `xml:"tests,attr"`
			Cases []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(b.Bytes(), &back))
	require.Equal(t, 1, back.Failures)
	require.Equal(t, 3, back.Suites[0].Tests)
	require.Equal(t, "12 <nodes>", back.Suites[0].Cases[0].Failure.Message)
	require.Equal(t, "allowed-ops: n&m", back.Suites[0].Cases[1].Name)
	require.Nil(t, back.Suites[0].Cases[1].Failure)
}

func TestSARIF(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, result().SARIF(&b, "1.0"))
	var back struct {
		Version string
		Runs    []struct {
			Results []struct {
				RuleID       string
				RuleIndex    int
				Suppressions []any
			}
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
		}
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, "2.1.0", back.Version)
	r := back.Runs[0]
	require.Len(t, r.Results, 2, "what holds is no result")
	require.Empty(t, r.Results[0].Suppressions)
	require.Len(t, r.Results[1].Suppressions, 1)
	require.Equal(t, r.Results[1].RuleID, r.Tool.Driver.Rules[r.Results[1].RuleIndex].ID)
}

// TestBaseline: what is known fails only where it gets worse.
func TestBaseline(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, result().WriteBaseline(&out))
	var b Baseline
	require.NoError(t, json.Unmarshal(out.Bytes(), &b))
	require.Len(t, b.Known, 2)
	nodes := func(v float64) Outcome { return Outcome{Model: "m.onnx", Rule: "max-nodes", Value: v, Limit: 10} }
	require.True(t, b.knows(nodes(12)))
	require.True(t, b.knows(nodes(11)))
	require.False(t, b.knows(nodes(13)))
	require.False(t, b.knows(Outcome{Model: "other.onnx", Rule: "max-nodes", Value: 12, Limit: 10}))
	require.False(t, b.knows(Outcome{Model: "m.onnx", Rule: "allowed-ops", Node: "other", Text: "no"}))
	require.False(t, (*Baseline)(nil).knows(nodes(12)))
	require.Equal(t, "9 223 372 036 854 775 807", grouped(math.MaxInt64))
}

// TestWords: errors of the decoder do not speak of Go's types.
func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"hello":                                  `line 1: "hello" where keys and values have to be`,
		"models: 3":                              `line 1: "3" where a list has to be`,
		"models: [{path: a, max-nodes: {a: 1}}]": "line 1: keys and values where a number has to be",
		"models: [{path: a, audit: maybe}]":      `line 1: "maybe" where true or false has to be`,
		"models:\n- {path: a, max-node: 1}":      `line 2: there is no key "max-node", did you mean "max-nodes"?`,
		"model: []":                              `line 1: there is no key "model", did you mean "models"?`,
	} {
		_, err := Parse([]byte(text))
		require.EqualError(t, err, want, text)
	}
}
