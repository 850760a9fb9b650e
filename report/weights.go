package report

import (
	"cmp"
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// shares sums up tensors by element type, largest first, and by data file, in order of their names.
func shares(tensors []*ir.Tensor) ([]TypeShare, []DataFile) {
	types := map[ir.DType]*TypeShare{}
	files := map[string]*DataFile{}
	for _, t := range tensors {
		bytes := max(t.ByteLen(), 0)
		s := types[t.DType()]
		if s == nil {
			s = &TypeShare{Type: t.DType().String()}
			types[t.DType()] = s
		}
		s.Parameters += max(t.Len(), 0)
		s.Bytes += bytes
		if name := location(t); name != "" {
			f := files[name]
			if f == nil {
				f = &DataFile{Location: name}
				files[name] = f
			}
			f.Tensors++
			f.Bytes += bytes
		}
	}
	byType, byFile := []TypeShare{}, []DataFile{}
	for _, s := range types {
		byType = append(byType, *s)
	}
	for _, f := range files {
		byFile = append(byFile, *f)
	}
	slices.SortFunc(byType, func(a, b TypeShare) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Parameters, a.Parameters), cmp.Compare(a.Type, b.Type))
	})
	slices.SortFunc(byFile, func(a, b DataFile) int { return cmp.Compare(a.Location, b.Location) })
	return byType, byFile
}

func location(t *ir.Tensor) string {
	if e, ok := t.Payload().(keep.External); ok {
		for _, p := range e.External() {
			if p.Key == "location" {
				return p.Value
			}
		}
	}
	return ""
}
