package quantize

import (
	"encoding/json"
	"fmt"

	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// ranges is what --calib-out writes and cache= reads: the histograms of tensors by name.
type ranges struct {
	Format  string                     `json:"format"`
	Samples int                        `json:"samples"`
	Data    string                     `json:"data"`
	Tensors map[string]*hist.Histogram `json:"tensors"`
}

const rangesFormat = "onnxopt-ranges-1"

// saved is the file of the histograms.
func (p *plan) saved(hists []*hist.Histogram, samples int, data string) ([]byte, error) {
	r := ranges{rangesFormat, samples, data, map[string]*hist.Histogram{}}
	for i, g := range p.groups {
		r.Tensors[p.keyOf(g)] = hists[i]
	}
	return json.Marshal(r)
}

// restored are the histograms of the groups in a file that saved made, of this model.
func (p *plan) restored(b []byte) ([]*hist.Histogram, *ranges, error) {
	var r ranges
	if err := json.Unmarshal(b, &r); err != nil || r.Format != rangesFormat {
		return nil, nil, fmt.Errorf("the file is not what --calib-out writes")
	}
	var hists []*hist.Histogram
	for _, g := range p.groups {
		h := r.Tensors[p.keyOf(g)]
		if h == nil || h.N > 0 && (len(h.Low) != hist.Bins || len(h.High) != hist.Bins) {
			return nil, nil, fmt.Errorf("the file of ranges has none for %s: it is of another model, or was made with other options", p.place0(g))
		}
		hists = append(hists, h)
	}
	return hists, &r, nil
}

// keyOf names a group in a file: the tensor's name, or that of its place.
func (p *plan) keyOf(g *group) string {
	if g.root.Name() != "" {
		return g.root.Name()
	}
	return p.place0(g)
}
