package opset_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/internal/conformance/execute"
	"github.com/onnxopt/onnxopt/passes/opset"
)

var update = flag.Bool("refused", false, "write testdata/refused.tsv anew")

// targets are the versions that every conformance test is converted to.
var targets = []int64{11, 13, 15, 17, 18, 19, 21, 23, 28}

// unusable lists conformance tests whose results say nothing here.
func unusable(name string) bool {
	return strings.Contains(name, "bernoulli")
}

// TestConformance converts every node and model test of the ONNX project to other versions and holds the results to the recorded outputs.
// What has no equivalent is listed with the reason in testdata/refused.tsv; a conversion that is listed and works is an error, too.
func TestConformance(t *testing.T) {
	listed := map[string]string{}
	if b, err := os.ReadFile("testdata/refused.tsv"); err == nil {
		for line := range strings.Lines(string(b)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			for to := range strings.FieldsSeq(f[1]) {
				listed[f[0]+"\t"+to] = f[2]
			}
		}
	}
	refused := map[string]string{}
	converted, exactly, down, skipped := 0, 0, 0, 0
	for _, name := range []string{"onnx-node-tests", "onnx-model-tests"} {
		tests := maps.Collect(conformance.Tests(t, conformance.Archive(t, name)))
		for _, test := range slices.Sorted(maps.Keys(tests)) {
			c := tests[test]
			from := model(t, c).Opset("")
			light := strings.HasPrefix(test, "light/")
			if from == 0 || unusable(test) || light && testing.Short() {
				continue
			}
			before, err := run(c, model(t, c))
			if err != nil {
				var u *engine.UnsupportedError
				if !errors.Is(err, execute.ErrNoInput) && !errors.As(err, &u) {
					t.Errorf("%s as it is: %v", test, err)
				}
				skipped++
				continue
			}
			for _, to := range targets {
				if to == from || testing.Short() && to != 13 && to != 28 || light && to != 11 && to != 28 {
					continue
				}
				key := fmt.Sprintf("%s\t%d", test, to)
				m := model(t, c)
				exact, err := convert(m, to)
				var e *opset.Error
				if errors.As(err, &e) {
					refused[key] = why(e)
					if !*update {
						assert.Equal(t, listed[key], why(e), "%s to %d is refused otherwise than listed", test, to)
					}
					continue
				}
				if err == nil {
					err = checkTest(c, m, exact, before)
				}
				if err != nil {
					t.Errorf("%s from %d to %d: %v", test, from, to, err)
					continue
				}
				if exact {
					exactly++
				}
				if converted++; to < from {
					down++
				}
				if listed[key] != "" && !*update {
					t.Errorf("%s to %d is listed and works", test, to)
				}
			}
		}
	}
	t.Logf("%d conversions hold, %d of them down, %d exact; %d are refused as listed; %d tests do not run as they are", converted, down, exactly, len(refused), skipped)
	if *update {
		rows := map[[2]string][]string{}
		for _, k := range slices.Sorted(maps.Keys(refused)) {
			test, to, _ := strings.Cut(k, "\t")
			rows[[2]string{test, refused[k]}] = append(rows[[2]string{test, refused[k]}], to)
		}
		var b strings.Builder
		for _, k := range slices.SortedFunc(maps.Keys(rows), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
			fmt.Fprintf(&b, "%s\t%s\t%s\n", k[0], strings.Join(rows[k], " "), k[1])
		}
		require.NoError(t, os.WriteFile("testdata/refused.tsv", []byte(b.String()), 0o666))
	}
}

// why is what the nodes of a refusal say, each reason once.
func why(e *opset.Error) string {
	var r []string
	for _, x := range e.Refused {
		if s := x.Op.String() + ": " + x.Why; !slices.Contains(r, s) {
			r = append(r, s)
		}
	}
	return strings.Join(r, "; ")
}
