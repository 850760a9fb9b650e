package text_test

import (
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// FuzzParse feeds the parser arbitrary texts. What it takes obeys the invariants of ir (imports and names of operators aside,
// which nothing states here), prints, and parses back to the same model.
func FuzzParse(f *testing.F) {
	for name, b := range readArchive(f) {
		if strings.HasSuffix(name, ".onnxtxt") && len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := text.Parse(src)
		if err != nil {
			return
		}
		if err := ir.Verify(m); err != nil && !strings.Contains(err.Error(), "not imported") {
			t.Fatalf("invalid model: %v", err)
		}
		var b strings.Builder
		if err := text.Print(&b, m, text.Options{}); err != nil {
			t.Fatal(err)
		}
		again, err := text.Parse([]byte(b.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if d := difference(m, again); d != "" {
			t.Fatalf("%s\n%s", d, b.String())
		}
		var c strings.Builder
		if err := text.Print(&c, again, text.Options{}); err != nil || c.String() != b.String() {
			t.Fatalf("prints differently: %v\n%s\n%s", err, b.String(), c.String())
		}
	})
}
