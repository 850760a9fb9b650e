package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Front is what a search found: the models of which no other one is better in all that was measured.
type Front struct {
	Metric  string
	Columns []string // what was measured besides, in order
	Points  []FrontPoint
}

// FrontPoint is a model of a front.
type FrontPoint struct {
	Number  int
	Choices string
	Loss    float64 // points of the metric
	Best    bool    // the one that the goal asks for
	Values  map[string]float64

	columns []string
}

// Cells are its values in the order of the columns; "" where one was not measured.
func (p FrontPoint) Cells() []string {
	r := make([]string, len(p.columns))
	for i, c := range p.columns {
		if v, ok := p.Values[c]; ok {
			r[i] = strconv.FormatFloat(v, 'g', 5, 64)
		}
	}
	return r
}

// ReadFront reads a front from JSON, as onnxopt tune writes it (front.json): an object with "metric", the name of what must not be lost, "best",
// the number of the model that the goal asks for, and "front", a list of objects with "number", "choices" in words, "loss" in points
// of the metric, and "values", an object of what was measured by name, which are all better the smaller they are but for "throughput".
// Other fields are left alone.
func ReadFront(b []byte) (*Front, error) {
	var in struct {
		Metric string `json:"metric"`
		Best   int    `json:"best"`
		Front  []struct {
			Number  int                `json:"number"`
			Choices string             `json:"choices"`
			Loss    float64            `json:"loss"`
			Values  map[string]float64 `json:"values"`
		} `json:"front"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("no front in JSON: %w", err)
	}
	if len(in.Front) == 0 {
		return nil, errors.New(`no front in JSON: "front" lists no model`)
	}
	f := &Front{Metric: in.Metric}
	names := map[string]bool{}
	for _, x := range in.Front {
		for name := range x.Values {
			names[name] = name != "quality" // which Loss says
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if names[name] {
			f.Columns = append(f.Columns, name)
		}
	}
	if f.Metric == "" {
		f.Metric = "quality"
	}
	for _, x := range in.Front {
		f.Points = append(f.Points, FrontPoint{x.Number, x.Choices, x.Loss, in.Best != 0 && x.Number == in.Best, x.Values, f.Columns})
	}
	return f, nil
}

// plots are what is lost over each thing that was measured.
func (f *Front) plots() (r []Plot) {
	for _, c := range f.Columns {
		front, best := Line{Name: "front", At: []float64{}}, Line{Name: "best", At: []float64{}}
		for _, p := range f.Points {
			v, ok := p.Values[c]
			if !ok || math.IsNaN(v) || math.IsInf(v, 0) || math.IsNaN(p.Loss) || math.IsInf(p.Loss, 0) {
				continue
			}
			l := &front
			if p.Best {
				l = &best
			}
			l.At, l.Values, l.Labels = append(l.At, v), append(l.Values, p.Loss), append(l.Labels, strconv.Itoa(p.Number))
		}
		x := Plot{Title: "Front: " + c, Caption: "Each point is a model, with its number: what it loses and what it costs. Down and left is better.", X: c, Y: f.Metric + " lost, points"}
		if c == "throughput" {
			x.Caption = "Each point is a model, with its number: what it loses and what it does. Down and right is better."
		}
		for _, l := range []Line{front, best} {
			if len(l.Values) > 0 {
				x.Lines = append(x.Lines, l)
			}
		}
		if len(x.Lines) > 0 {
			r = append(r, x)
		}
	}
	return r
}
