package dataset

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// pairSource reads a table of pairs of token sequences: two columns of whole numbers with blanks between them, and a score, as
// benchmarks of semantic similarity have them. A sample is one run of two rows, the shorter one padded under the mask.
type pairSource struct {
	*csvSource
	inputs pairInputs
	at     [2]int
}

// pairInputs are the inputs of an encoder of token sequences, each of shape [batch, length].
type pairInputs struct {
	ids, mask *Port
	zeros     []*Port // segments: both sequences are the first of theirs
	positions *Port
}

// pairInputs recognises the required inputs of an encoder by type and name: integers of two axes, of which one is a mask, and one
// is neither that nor a segment nor a position. false where the model is another.
func (s *Set) pairInputs() (r pairInputs, ok bool) {
	if s.o.Raw {
		return pairInputs{ids: &Port{Name: "tokens"}, mask: &Port{Name: "mask"}}, true
	}
	for i := range s.o.Inputs {
		p := &s.o.Inputs[i]
		if p.Optional {
			continue
		}
		if shape := p.Type.TensorShape(); p.Type == nil || p.Type.Kind != ir.KindTensor || shape != nil && len(shape) != 2 {
			return r, false
		}
		name := strings.ToLower(p.Name)
		switch mask := strings.Contains(name, "mask"); {
		case mask && r.mask == nil:
			r.mask = p
		case !p.Type.DType().IsInt() || mask:
			return r, false
		case strings.Contains(name, "type") || strings.Contains(name, "segment"):
			r.zeros = append(r.zeros, p)
		case strings.Contains(name, "position"):
			r.positions = p
		case r.ids == nil:
			r.ids = p
		default:
			return r, false
		}
	}
	return r, r.ids != nil && r.mask != nil
}

// pairs makes a source of pairs of a table whose columns are not named after inputs, nil if it holds no pairs or the model takes none.
func (s *Set) pairs(c *csvSource, first []string) (source, error) {
	in, ok := s.pairInputs()
	if !ok || len(first) < 2 || len(first) > 3 ||
		slices.ContainsFunc(first, func(name string) bool { return find(s.o.Inputs, strings.TrimSpace(name)) != nil }) {
		return nil, nil
	}
	row := first
	if c.header {
		f, r, err := c.reader()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for range 2 {
			if row, err = r.Read(); err != nil {
				return nil, nil // which the table's own reader reports
			}
		}
	}
	p := &pairSource{csvSource: c, inputs: in, at: [2]int{0, 1}}
	c.label = -1
	if len(first) == 3 {
		c.label = 2
	}
	for i, name := range first {
		if name = strings.TrimSpace(name); !c.header || !s.isLabel(name) && !(s.o.LabelColumn == "" && strings.EqualFold(name, "score")) {
			continue
		}
		if len(first) != 3 {
			return nil, nil
		}
		rest := slices.DeleteFunc([]int{0, 1, 2}, func(k int) bool { return k == i })
		c.label, p.at = i, [2]int{rest[0], rest[1]}
	}
	for _, k := range p.at {
		if k >= len(row) || !tokens(row[k]) {
			return nil, nil
		}
	}
	return p, nil
}

// tokens reports whether a cell is a list of whole numbers.
func tokens(cell string) bool {
	words := strings.Fields(cell)
	return len(words) > 1 && !slices.ContainsFunc(words, func(w string) bool { _, err := strconv.ParseInt(w, 10, 64); return err != nil })
}

func (p *pairSource) rows(ctx context.Context) iter.Seq[row] {
	return p.each(ctx, p.pair)
}

// pair makes the two rows of a sample.
func (p *pairSource) pair(x *row, rec []string, i int) error {
	var sequences [2][]int64
	longest := 0
	for k, at := range p.at {
		if at >= len(rec) {
			return fmt.Errorf("%d cells; column %d is missing", len(rec), at+1)
		}
		for _, w := range strings.Fields(rec[at]) {
			n, err := strconv.ParseInt(w, 10, 64)
			if err != nil {
				return fmt.Errorf("%q is no whole number", w)
			}
			sequences[k] = append(sequences[k], n)
		}
		if len(sequences[k]) == 0 {
			return fmt.Errorf("column %d holds no tokens", at+1)
		}
		longest = max(longest, len(sequences[k]))
	}
	length := longest
	if shape := p.inputs.ids.Type.TensorShape(); shape != nil && shape[1].IsStatic() {
		if length = int(min(shape[1].Size, math.MaxInt32)); longest > length {
			return fmt.Errorf("%d tokens; the model takes %d", longest, length)
		}
		if length > maxRowCells {
			return fmt.Errorf("the model takes sequences of %d tokens; the limit is %d", length, maxRowCells)
		}
	}
	ids, mask, positions := make([]int64, 2*length), make([]int64, 2*length), make([]int64, 2*length)
	for k, s := range sequences {
		copy(ids[k*length:], s)
		for j := range length {
			positions[k*length+j] = int64(j)
			if j < len(s) {
				mask[k*length+j] = 1
			}
		}
	}
	tensor := func(v []int64) *ir.Tensor { return ir.TensorOf(v, 2, int64(length)) }
	x.mask = tensor(mask)
	x.values = []column{{name: p.inputs.ids.Name, value: tensor(ids)}, {name: p.inputs.mask.Name, value: x.mask}}
	for _, z := range p.inputs.zeros {
		x.values = append(x.values, column{name: z.Name, value: tensor(make([]int64, 2*length))})
	}
	if q := p.inputs.positions; q != nil {
		x.values = append(x.values, column{name: q.Name, value: tensor(positions)})
	}
	x.whole = true
	return p.labelOf(x, rec, i)
}
