package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/ir"
)

// BoxOptions say which outputs hold detections. The zero value looks for an output whose last axis has four elements, the
// boxes, and one of scores; or else for a single output of rows (four corners, score, class).
type BoxOptions struct {
	Boxes, Scores string
	// Format of the four numbers: "xyxy" (two corners; the default), "xywh" (a corner and the size), "cxcywh" (the middle and the size).
	Format string
	// Threshold is the least score of a detection; default 0.5.
	Threshold float64
	// Background is the column of the scores that stands for no object, -1 for none.
	Background int
}

// The overlap (intersection over union) from which boxes of two models are one detection, and from which those of one model
// are, so that the weaker one is dropped.
const matchIoU = 0.5

// maxCandidates bounds the boxes over the threshold in one row: they are compared with each other.
const maxCandidates = 1 << 14

// boxes is the agreement of detections with those of a reference: 2·matches / (detections of both), the F1 measure, over all
// rows. Boxes of one class match if they overlap by at least half, each once, the strongest first.
type boxes struct {
	o              BoxOptions
	matches, total int
	rows           int
}

func newBoxes(outputs []dataset.Port, o BoxOptions) (Meter, error) {
	if o.Threshold == 0 {
		o.Threshold = 0.5
	}
	switch o.Format {
	case "":
		o.Format = "xyxy"
	case "xyxy", "xywh", "cxcywh":
	default:
		return nil, fmt.Errorf("boxes are xyxy, xywh or cxcywh, not %q", o.Format)
	}
	if o.Boxes == "" {
		o.Boxes, o.Scores = guessBoxes(outputs)
	}
	for _, name := range []string{o.Boxes, o.Scores} {
		if name != "" && !slices.ContainsFunc(outputs, func(p dataset.Port) bool { return p.Name == name }) {
			return nil, fmt.Errorf("the model has no output %q", name)
		}
	}
	return &boxes{o: o}, nil
}

// guessBoxes finds the outputs of boxes and scores by their last axes.
func guessBoxes(outputs []dataset.Port) (box, score string) {
	for _, p := range outputs {
		s := p.Type.TensorShape()
		switch {
		case !p.Type.DType().IsFloat():
		case len(s) > 0 && s[len(s)-1].IsStatic() && s[len(s)-1].Size == 4 && box == "":
			box = p.Name
		case score == "":
			score = p.Name
		}
	}
	if box == "" {
		return outputs[0].Name, ""
	}
	return box, score
}

func (b *boxes) Name() string { return "boxes" }
func (b *boxes) Needs() Needs { return Outputs }

// Value is 1 where neither model detects anything.
func (b *boxes) Value() float64 {
	switch {
	case b.rows == 0:
		return math.NaN()
	case b.total == 0:
		return 1
	}
	return 2 * float64(b.matches) / float64(b.total)
}

func (b *boxes) Add(r Row) error {
	x, err := b.detections(r.Out)
	if err != nil {
		return err
	}
	y, err := b.detections(r.Want)
	if err != nil {
		return err
	}
	b.rows++
	b.total += len(x) + len(y)
	used := make([]bool, len(y))
	for _, d := range x {
		best, at := matchIoU, -1
		for i, e := range y {
			if o := iou(d, e); !used[i] && d.class == e.class && o >= best {
				best, at = o, i
			}
		}
		if at >= 0 {
			used[at] = true
			b.matches++
		}
	}
	return nil
}

// detection is a box by its corners.
type detection struct {
	x0, y0, x1, y1 float64
	score          float64
	class          int
}

// iou is the overlap of two boxes: intersection over union.
func iou(a, b detection) float64 {
	w := min(a.x1, b.x1) - max(a.x0, b.x0)
	h := min(a.y1, b.y1) - max(a.y0, b.y0)
	if !(w > 0 && h > 0) {
		return 0
	}
	return w * h / (a.area() + b.area() - w*h)
}

func (d detection) area() float64 { return (d.x1 - d.x0) * (d.y1 - d.y0) }

// detections are the boxes of an output over the threshold, the strongest first, without those that a stronger one of the class covers.
func (b *boxes) detections(out map[string]ir.Datum) ([]detection, error) {
	all, err := b.candidates(out)
	if err != nil {
		return nil, err
	}
	if len(all) > maxCandidates {
		return nil, fmt.Errorf("%d boxes have a score of %g or more; raise the threshold", len(all), b.o.Threshold)
	}
	slices.SortStableFunc(all, func(a, b detection) int { return cmp.Compare(b.score, a.score) })
	var kept []detection
	for _, d := range all {
		if !slices.ContainsFunc(kept, func(k detection) bool { return k.class == d.class && iou(k, d) > matchIoU }) {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

func (b *boxes) candidates(out map[string]ir.Datum) ([]detection, error) {
	v, err := values(out, b.o.Boxes)
	if err != nil {
		return nil, err
	}
	shape := out[b.o.Boxes].(*ir.Tensor).Shape()
	width := 0
	if len(shape) > 0 {
		width = int(shape[len(shape)-1])
	}
	if b.o.Scores == "" {
		return b.combined(v, width)
	}
	scores, err := values(out, b.o.Scores)
	if err != nil {
		return nil, err
	}
	n := len(v) / 4
	if width != 4 || n > 0 && len(scores)%n != 0 || n > 0 && len(scores) == 0 {
		return nil, fmt.Errorf("boxes %q of shape %v and %d scores %q do not belong together", b.o.Boxes, shape, len(scores), b.o.Scores)
	}
	var r []detection
	for i := range n {
		k := len(scores) / n
		row := scores[i*k : (i+1)*k]
		if c := Argmax(row); c >= 0 && c != b.o.Background && row[c] >= b.o.Threshold {
			r = append(r, b.box(v[4*i:], row[c], c))
		}
	}
	return r, nil
}

// combined reads rows of four numbers, a score and, if there is a sixth number, a class.
func (b *boxes) combined(v []float64, width int) ([]detection, error) {
	if width != 5 && width != 6 {
		return nil, fmt.Errorf("output %q has rows of %d numbers; name the outputs of boxes and scores, or give rows of four corners, score and class", b.o.Boxes, width)
	}
	var r []detection
	for ; len(v) >= width; v = v[width:] {
		if v[4] < b.o.Threshold || math.IsNaN(v[4]) {
			continue
		}
		class := 0
		if width == 6 {
			class = int(v[5])
		}
		r = append(r, b.box(v, v[4], class))
	}
	return r, nil
}

func (b *boxes) box(v []float64, score float64, class int) detection {
	d := detection{v[0], v[1], v[2], v[3], score, class}
	switch b.o.Format {
	case "xywh":
		d.x1, d.y1 = v[0]+v[2], v[1]+v[3]
	case "cxcywh":
		d.x0, d.y0, d.x1, d.y1 = v[0]-v[2]/2, v[1]-v[3]/2, v[0]+v[2]/2, v[1]+v[3]/2
	}
	return d
}
