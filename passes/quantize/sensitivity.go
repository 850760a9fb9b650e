package quantize

import (
	"cmp"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
)

// sensitive is a weighted operator and what quantizing it alone does to the outputs.
type sensitive struct {
	node *ir.Node
	d    measured.Divergence
}

// sensitivity quantizes one weighted operator at a time, and lists them by the divergence of the outputs, the worst first.
func (p *plan) sensitivity(ref *measured.Reference) ([]sensitive, error) {
	var all []*ir.Node
	for _, u := range p.units {
		if u.kind == weighted {
			all = append(all, u.source)
		}
	}
	var r []sensitive
	for _, n := range all {
		exempt := map[*ir.Node]string{}
		for _, o := range all {
			if o != n {
				exempt[o] = "not now"
			}
		}
		q, err := p.without(exempt)
		if err != nil {
			return nil, err
		}
		d, err := q.divergence(ref)
		if err != nil {
			return nil, err
		}
		r = append(r, sensitive{n, d})
	}
	slices.SortStableFunc(r, func(a, b sensitive) int { return cmp.Compare(a.d.SQNR, b.d.SQNR) })
	return r, nil
}
