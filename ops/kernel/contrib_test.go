package kernel_test

import (
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ops/kernel"
)

const contribCases = "testdata/ort-contrib-cases.tar.gz" // made by ort_contrib_cases.py beside it

// contribBits is the hash of the results of these cases, recorded on amd64.
const contribBits = 0xc9bf40eae072e3e6

// TestContrib holds the operators of domain com.microsoft to what ONNX Runtime computes.
func TestContrib(t *testing.T) {
	tests := readArchive(t, contribCases)
	bits, passed := fnv.New64a(), map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		_, op, _ := strings.Cut(name, "_")
		out, err := runConformance(tests[name])
		hashData(bits, out)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		passed[op]++
	}
	for _, op := range kernel.ContribOperators() {
		if passed[op] < 3 && op != "QLinearReduceMean" { // that one has no kernel in ONNX Runtime any more
			t.Errorf("%d cases of %s pass, which is too few", passed[op], op)
		}
	}
	if got := bits.Sum64(); got != contribBits {
		t.Errorf("the results' bits hash to %#x, recorded are %#x", got, uint64(contribBits))
	}
	t.Logf("%d cases of %d operators", len(tests), len(passed))
}
