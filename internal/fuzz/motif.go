package fuzz

import (
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// Motif is the model of a fixture: what a rule fires on, or nearly.
type Motif struct {
	Name  string // file and case
	Model *ir.Model
}

var opsetDirective = regexp.MustCompile(`(?m)^#\s*opset:\s*(\d+)`)

// Motifs reads the inputs of the fixtures (see package passtest) below the folders of fsys.
func Motifs(fsys fs.FS) ([]Motif, error) {
	var r []Motif
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".txtar") {
			return err
		}
		b, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		for name, src := range sections(string(b)) {
			if !strings.HasSuffix(name, "/in") {
				continue
			}
			if m := parseMotif(src); m != nil {
				r = append(r, Motif{path + ": " + strings.TrimSuffix(name, "/in"), m})
			}
		}
		return nil
	})
	return r, err
}

// sections yields the files of a txtar archive in order.
func sections(s string) func(yield func(name, data string) bool) {
	return func(yield func(name, data string) bool) {
		name, data := "", strings.Builder{}
		for line := range strings.Lines(s) {
			head, ok := strings.CutPrefix(strings.TrimSpace(line), "-- ")
			next, ok2 := strings.CutSuffix(head, " --")
			if !ok || !ok2 {
				data.WriteString(line)
				continue
			}
			if name != "" && !yield(name, data.String()) {
				return
			}
			name = next
			data.Reset()
		}
		if name != "" {
			yield(name, data.String())
		}
	}
}

// parseMotif is the model of a case, nil if it cannot be read: a fixture may be wrong on purpose.
func parseMotif(src string) *ir.Model {
	opset := int64(17)
	if m := opsetDirective.FindStringSubmatch(src); m != nil {
		opset, _ = strconv.ParseInt(m[1], 10, 64)
	}
	m, err := text.ParseGraph([]byte(src), ir.Opset{Version: opset})
	if err != nil {
		return nil
	}
	return m
}
