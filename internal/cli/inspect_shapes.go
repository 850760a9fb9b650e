package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/report"
)

// inspectedShapes is the --json of inspect --shapes.
type inspectedShapes struct {
	File string `json:"file"`
	*report.ShapeTable
}

// inspectShapes lists the values of a model.
func (e *env) inspectShapes(ctx context.Context, f *inspectFlags, in *input) error {
	r := inspectedShapes{File: in.name}
	err := onnxio.Guard(func() (err error) {
		r.ShapeTable, err = report.Shapes(in.model, report.Options{Sizes: f.sizes})
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return &fileError{in.name, err}
	case f.json:
		return e.json(r)
	}
	r.write(e.stdout)
	return nil
}

// write prints a table for each graph.
func (r *inspectedShapes) write(w io.Writer) {
	for i := 0; i < len(r.Values); {
		graph := r.Values[i].Graph
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, graph)
		t := table{}
		for ; i < len(r.Values) && r.Values[i].Graph == graph; i++ {
			v := r.Values[i]
			t.row(v.Op, v.Name, v.Type, elementsText(v.Elements))
		}
		t.write(w, "  ")
	}
	fmt.Fprintf(w, "\n%d value%s: %d of known shape, %d of known rank\n", len(r.Values), plural(len(r.Values)), r.Known, r.Partial)
	for _, x := range r.Remarks {
		fmt.Fprintln(w, x)
	}
}

// elementsText is like "= {N, 3, ?}".
func elementsText(e []any) string {
	if e == nil {
		return ""
	}
	s := make([]string, len(e))
	for i, x := range e {
		if s[i] = "?"; x != nil {
			s[i] = fmt.Sprint(x)
		}
	}
	return "= {" + strings.Join(s, ", ") + "}"
}
