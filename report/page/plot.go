package page

import (
	"bytes"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Plot is a curve or bars over layers.
type Plot struct {
	Title, Caption string
	X, Y           string // titles of the axes
	From           int    // x of the first value of a curve
	Bars           bool
	Log            bool
	Dots           bool // the lines are points, and the axes need not begin at zero
	Lines          []Line
}

// Line is a series of a plot. With At, it is points at those places of the X axis, each with a label.
type Line struct {
	Name   string
	Values []float64
	At     []float64
	Labels []string
}

// colours are those of Okabe and Ito, Color universal design, 2008, which people with any colour vision tell apart. Lines also differ in
// dashes.
func colours() []color.Color {
	return []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255}}
}

func (p *Plot) draw() (*plot.Plot, error) {
	d := plot.New()
	d.X.Label.Text, d.Y.Label.Text = p.X, p.Y
	d.Legend.Top = true
	for i, l := range p.Lines {
		c := colours()[i%4]
		if p.Bars {
			width := vg.Points(max(0.5, 400/float64(max(1, len(l.Values)*len(p.Lines)))))
			b, err := plotter.NewBarChart(plotter.Values(l.Values), width)
			if err != nil {
				return nil, err
			}
			b.Color, b.LineStyle.Width, b.Offset = c, 0, width*vg.Length(float64(i)-float64(len(p.Lines)-1)/2)
			d.Add(b)
			if len(p.Lines) > 1 {
				d.Legend.Add(l.Name, b)
			}
			continue
		}
		if l.At != nil {
			if err := points(d, i, l); err != nil {
				return nil, err
			}
			continue
		}
		xy := make(plotter.XYs, 0, len(l.Values))
		for k, v := range l.Values {
			if p.Log && !(v > 0) {
				v = 1e-9
			}
			xy = append(xy, plotter.XY{X: float64(p.From + k), Y: v})
		}
		line, err := plotter.NewLine(xy)
		if err != nil {
			return nil, err
		}
		line.LineStyle = draw.LineStyle{Color: c, Width: vg.Points(1.2)}
		if i > 0 {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(2 * float64(i))}
		}
		d.Add(line)
		if len(p.Lines) > 1 {
			d.Legend.Add(l.Name, line)
		}
	}
	if p.Log {
		d.Y.Scale, d.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		d.Y.Min = math.Max(d.Y.Min, 1e-9)
		d.Y.Max = math.Max(d.Y.Max, d.Y.Min*10)
	} else if !p.Dots {
		d.Y.Min = math.Min(0, d.Y.Min)
		if d.Y.Min == d.Y.Max { // one level
			d.Y.Max++
		}
	}
	return d, nil
}

// points draws a series of points, in a shape of its own, so that colours are not all that tells them apart.
func points(d *plot.Plot, i int, l Line) error {
	xy := make(plotter.XYs, len(l.Values))
	for k, v := range l.Values {
		xy[k] = plotter.XY{X: l.At[k], Y: v}
	}
	s, err := plotter.NewScatter(xy)
	if err != nil {
		return err
	}
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.PyramidGlyph{}, draw.BoxGlyph{}, draw.CrossGlyph{}}
	s.GlyphStyle = draw.GlyphStyle{Color: colours()[i%4], Radius: vg.Points(4), Shape: shapes[i%4]}
	d.Add(s)
	d.Legend.Add(l.Name, s)
	if len(l.Labels) == len(xy) {
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: xy, Labels: l.Labels})
		if err != nil {
			return err
		}
		labels.Offset = vg.Point{X: vg.Points(5), Y: vg.Points(3)}
		d.Add(labels)
	}
	return nil
}

// Bytes is the plot in a format that gonum/plot writes: "svg", "png", "pdf".
func (p *Plot) Bytes(format string) ([]byte, error) {
	d, err := p.draw()
	if err != nil {
		return nil, err
	}
	w, err := d.WriterTo(18*vg.Centimeter, 6*vg.Centimeter, format)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}

// SVG is the plot as an element that can stand in a page.
func (p *Plot) SVG() ([]byte, error) {
	b, err := p.Bytes("svg")
	if i := bytes.Index(b, []byte("<svg")); i > 0 {
		b = b[i:] // without the declaration and the document type
	}
	return b, err
}
