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
	Dots           bool // values are dots, not joined; the axes need not begin at zero
	Lines          []Line
}

// Line is a series of a plot.
type Line struct {
	Name   string
	Values []float64
	At     []float64 // where values stand on the axis below; nil: at 0, 1, ...
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
		xy := make(plotter.XYs, 0, len(l.Values))
		for k, v := range l.Values {
			if p.Log && !(v > 0) {
				v = 1e-9
			}
			x := float64(p.From + k)
			if l.At != nil {
				x = l.At[k]
			}
			xy = append(xy, plotter.XY{X: x, Y: v})
		}
		if p.Dots {
			dots, err := plotter.NewScatter(xy)
			if err != nil {
				return nil, err
			}
			dots.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(2.5), Shape: []draw.GlyphDrawer{draw.CircleGlyph{}, draw.TriangleGlyph{}, draw.SquareGlyph{}, draw.CrossGlyph{}}[i%4]}
			d.Add(dots)
			d.Legend.Add(l.Name, dots)
			continue
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
	}
	return d, nil
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
