package dataset

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// encoder are the inputs of a model of token sequences of a length, which may be open.
func encoder(length int64) []Port {
	return []Port{portOf("input_ids", ir.Int64, -1, length), portOf("attention_mask", ir.Int64, -1, length),
		portOf("token_type_ids", ir.Int32, -1, length), portOf("position_ids", ir.Int64, -1, length)}
}

// TestPairs has tables of pairs of sentences: without a header, with one, with the score in front, without a score.
func TestPairs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		length     int64
		label      float64
	}{
		{"a.tsv", "7 8\t9 9 9\t5.0\n2 3\t4 5 6\t2.5\n", -1, 2.5},
		{"b.tsv", "a\tb\tscore\n7 8\t9 9 9\t5\n2 3\t4 5 6\t2.5\n", 4, 2.5},
		{"c.csv", "label,a,b\n5,7 8,9 9 9\n2.5,2 3,4 5 6\n", -1, 2.5},
		{"d.csv", "7 8,9 9 9\n2 3,4 5 6\n", 3, math.NaN()},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := collect(t, write(t, t.TempDir(), c.name, []byte(c.text)), Options{Inputs: encoder(c.length)})
			require.NoError(t, err)
			require.Len(t, r, 2)
			s := r[1]
			want := map[string][]float64{"input_ids": {2, 3, 0, 4, 5, 6}, "attention_mask": {1, 1, 0, 1, 1, 1}, "position_ids": {0, 1, 2, 0, 1, 2}}
			if c.length == 4 {
				want = map[string][]float64{"input_ids": {2, 3, 0, 0, 4, 5, 6, 0}, "attention_mask": {1, 1, 0, 0, 1, 1, 1, 0}, "position_ids": {0, 1, 2, 3, 0, 1, 2, 3}}
			}
			for name, v := range want {
				require.Equal(t, v, values(t, s.Inputs[name]), name)
			}
			require.Equal(t, ir.Int32, s.Inputs["token_type_ids"].(*ir.Tensor).DType())
			require.Equal(t, want["attention_mask"], values(t, s.Mask))
			if math.IsNaN(c.label) {
				require.False(t, s.Labelled())
			} else {
				require.Equal(t, c.label, s.Label)
			}
		})
	}
}

// TestNoPairs has what a table of pairs is not, and rows of one that are bad.
func TestNoPairs(t *testing.T) {
	table := []byte("7 8\t9 9\t5\n")
	r, err := collect(t, write(t, t.TempDir(), "a.tsv", table), Options{Inputs: []Port{port("x", -1, 5)}})
	require.NoError(t, err)
	require.Nil(t, r[0].Mask)
	require.Equal(t, []float64{7, 8, 9, 9, 5}, values(t, r[0].Inputs["x"]))
	_, err = collect(t, write(t, t.TempDir(), "a.tsv", table), Options{Inputs: []Port{port("x", -1, 2), port("mask", -1, 2)}})
	require.ErrorContains(t, err, "the data have no names and the model takes several inputs: x, mask")
	_, err = collect(t, write(t, t.TempDir(), "a.tsv", table), Options{Inputs: encoder(1 << 40)})
	require.ErrorContains(t, err, "the model takes sequences of 2147483647 tokens; the limit is 16777216")
	for text, want := range map[string]string{
		"7 8\t9 9 9\t5\n1 2\t3 4\n":                         "line 2: 2 cells; the label is in column 3",
		"7 8\t9 9 9\t5\n1 2\n":                              "line 2: 1 cells; column 2 is missing",
		"7 8\t9 9 9\t5\n1 x\t3 4\t1\n":                      `line 2: "x" is no whole number`,
		"7 8\t9 9 9\t5\n \t3 4\t1\n":                        "line 2: column 1 holds no tokens",
		"7 8\t9 9 9\t5\n1 2 3 4 5 6\t3 4\t1\n":              "line 2: 6 tokens; the model takes 5",
		"7 8\t9 9 9\t5\n1 2\t3 4\tgood\n":                   "line 2:",
		"a\tb\n7.5 8\t9 9 9\n":                              "the data have no names",
		"7 8\t9 9 9\t5\t6\n":                                "the data have no names",
		"input_ids\tattention_mask\n1 2 3 4 5\t1 1 1 1 1\n": `there is nothing for input "token_type_ids"`,
	} {
		_, err := collect(t, write(t, t.TempDir(), "b.tsv", []byte(text)), Options{Inputs: encoder(5)})
		require.ErrorContains(t, err, want, "%q", text)
	}
}
