package dataset

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// csvSource reads a table. Its columns are bound by the header: to inputs and the label by name, or all but the label, in
// their order, to the only input. Without a header there is no label.
type csvSource struct {
	set    *Set
	path   string
	comma  rune
	header bool
	label  int          // column, -1: none
	inputs []csvColumns // in the order of the model
	labels []float64    // of a file of their own
}

// csvColumns are the columns of one input. One column may hold a list of numbers with blanks between them, several hold a number each.
type csvColumns struct {
	port *Port
	at   []int
	raw  bool // what is no number is text
}

func (s *Set) openCSV(path string) (source, error) {
	c := &csvSource{set: s, path: path, comma: ',', label: -1}
	if ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(path, ".gz"))); ext == ".tsv" {
		c.comma = '\t'
	}
	f, r, err := c.reader()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	first, err := r.Read()
	if err == io.EOF {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	c.header = slices.ContainsFunc(first, func(cell string) bool { return !numeric(cell) })
	if c.labels, err = s.labels(""); err != nil {
		return nil, err
	}
	first = slices.Clone(first)
	if p, err := s.pairs(c, first); p != nil || err != nil {
		return p, err
	}
	return c, c.assign(first)
}

// numeric reports whether a cell holds numbers, so that it is no name of a column.
func numeric(cell string) bool {
	for _, f := range strings.Fields(cell) {
		if _, err := strconv.ParseFloat(f, 64); err != nil {
			return false
		}
	}
	return strings.TrimSpace(cell) != ""
}

// maxRowCells bounds the cells of a row.
const maxRowCells = 1 << 24

func (c *csvSource) reader() (*stream, *csv.Reader, error) {
	f, err := openMaybeGzip(c.path)
	if err != nil {
		return nil, nil, err
	}
	r := csv.NewReader(f)
	r.Comma, r.ReuseRecord, r.FieldsPerRecord = c.comma, true, -1
	r.TrimLeadingSpace = c.comma == ','
	return f, r, nil
}

// assign finds the columns of each input.
func (c *csvSource) assign(first []string) error {
	s := c.set
	var rest []int
	var order []string // of names
	byName := map[string][]int{}
	for i, name := range first {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		switch {
		case c.header && s.isLabel(name):
			c.label = i
		case c.header && s.input(name) != nil:
			byName[name] = append(byName[name], i)
			order = append(order, name)
		case c.header && elementOf(name) != "" && s.input(elementOf(name)) != nil: // x[0], x[1], ...
			byName[elementOf(name)] = append(byName[elementOf(name)], i)
			order = append(order, elementOf(name))
		default:
			rest = append(rest, i)
		}
	}
	if s.o.LabelColumn != "" && c.label < 0 {
		return fmt.Errorf("there is no column %q", s.o.LabelColumn)
	}
	if len(byName) == 0 {
		p, err := s.only()
		if err != nil {
			return err
		}
		c.inputs = []csvColumns{{p, rest, s.o.Raw}}
		return nil
	}
	if s.o.Raw {
		for _, name := range unique(order) {
			c.inputs = append(c.inputs, csvColumns{&Port{Name: name}, byName[name], true})
		}
		return nil
	}
	for i := range s.o.Inputs {
		if p := &s.o.Inputs[i]; byName[p.Name] != nil {
			c.inputs = append(c.inputs, csvColumns{p, byName[p.Name], false})
		}
	}
	return nil
}

// unique are the names in the order in which they first occur.
func unique(names []string) (r []string) {
	seen := map[string]bool{}
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			r = append(r, n)
		}
	}
	return r
}

// elementOf is the x of x[3], "" where a name is not of that form.
func elementOf(name string) string {
	base, index, ok := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	if _, err := strconv.ParseUint(index, 10, 31); !ok || err != nil || !strings.HasSuffix(name, "]") {
		return ""
	}
	return base
}

func (c *csvSource) size() int    { return -1 }
func (c *csvSource) close() error { return nil }

func (c *csvSource) rows(ctx context.Context) iter.Seq[row] { return c.each(ctx, c.cells) }

// each yields the rows, for which bind takes the cells of each sample.
func (c *csvSource) each(ctx context.Context, bind func(x *row, rec []string, i int) error) iter.Seq[row] {
	return func(yield func(row) bool) {
		f, r, err := c.reader()
		if err != nil {
			yield(row{name: c.path, err: err})
			return
		}
		defer f.Close()
		if c.header {
			if _, err := r.Read(); err != nil {
				yield(row{name: c.path, err: err})
				return
			}
		}
		for i := 0; ctx.Err() == nil; i++ {
			rec, err := r.Read()
			if err == io.EOF {
				return
			}
			x := row{name: c.path, err: err}
			var syntax *csv.ParseError
			if err == nil {
				line, _ := r.FieldPos(0)
				x.name = fmt.Sprintf("%s, line %d", c.path, line)
				x.err = c.bounded(&x, rec, i, bind)
			} else if errors.As(err, &syntax) {
				x.name, x.err = fmt.Sprintf("%s, line %d", c.path, syntax.Line), syntax.Err
			}
			if !yield(x) || err != nil && syntax == nil {
				return
			}
		}
	}
}

func (c *csvSource) bounded(x *row, rec []string, i int, bind func(x *row, rec []string, i int) error) error {
	if len(rec) > maxRowCells {
		return fmt.Errorf("%d cells", len(rec))
	}
	return bind(x, rec, i)
}

// labelOf reads the label of sample i.
func (c *csvSource) labelOf(x *row, rec []string, i int) error {
	x.label = math.NaN()
	if c.labels != nil {
		x.label = labelAt(c.labels, i)
	}
	if c.label >= 0 {
		if c.label >= len(rec) {
			return fmt.Errorf("%d cells; the label is in column %d", len(rec), c.label+1)
		}
		v, err := labelValue(rec[c.label], c.set.classes)
		if err != nil {
			return err
		}
		x.label = v
	}
	return nil
}

// cells binds the cells of sample i.
func (c *csvSource) cells(x *row, rec []string, i int) error {
	if err := c.labelOf(x, rec, i); err != nil {
		return err
	}
	for _, in := range c.inputs {
		t, err := in.tensor(rec)
		if err != nil {
			return fmt.Errorf("input %q: %w", in.port.Name, err)
		}
		x.values = append(x.values, column{name: in.port.Name, value: t})
	}
	return nil
}

// tensor reads the cells of an input: shape [1, k], or [1] where the model takes one number a sample.
func (in csvColumns) tensor(rec []string) (*ir.Tensor, error) {
	want := in.port.Type.DType()
	if in.raw && slices.ContainsFunc(in.at, func(i int) bool { return i < len(rec) && !numeric(rec[i]) && strings.TrimSpace(rec[i]) != "" }) {
		want = ir.String
	}
	var words []string
	for _, i := range in.at {
		if i >= len(rec) {
			return nil, fmt.Errorf("%d cells; column %d is missing", len(rec), i+1)
		}
		if want == ir.String {
			words = append(words, rec[i])
		} else {
			words = append(words, strings.Fields(rec[i])...)
		}
	}
	shape := []int64{1, int64(len(words))}
	if len(words) == 1 && len(in.port.Type.TensorShape()) == 1 {
		shape = shape[:1]
	}
	if want == ir.String {
		return ir.NewStringTensor(shape, words), nil
	}
	return parseNumbers(words, want, shape)
}

// parseNumbers reads numbers as elements of a type; decimals are rounded to floats, and must be whole for integers.
func parseNumbers(words []string, want ir.DType, shape []int64) (*ir.Tensor, error) {
	if want == ir.Int64 {
		v := make([]int64, len(words))
		for i, w := range words {
			var err error
			if v[i], err = strconv.ParseInt(w, 10, 64); err != nil {
				return nil, fmt.Errorf("%q is no whole number", w)
			}
		}
		return ir.NewTensor(ir.Int64, shape, ir.AsBytes(v)), nil
	}
	v := make([]float64, len(words))
	for i, w := range words {
		var err error
		if v[i], err = strconv.ParseFloat(w, 64); err != nil {
			return nil, fmt.Errorf("%q is no number", w)
		}
	}
	t := ir.NewTensor(ir.Float64, shape, ir.AsBytes(v))
	switch {
	case want == ir.Undefined:
		return Cast(t, ir.Float32)
	case want.IsFloat():
		return Cast(t, want)
	}
	return exact(t, want)
}
