package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnxopt/onnxopt/distill"
	"github.com/onnxopt/onnxopt/report/page"
)

// labelled leaves the labels out of the loss where the first sample has none.
func (e *env) labelled(ctx context.Context, f *distillFlags, o *distill.Options) error {
	for s, err := range o.Set.Samples(ctx) {
		if err != nil {
			return inFile(f.data.data, err)
		}
		if !s.Labelled() {
			fmt.Fprintln(e.stderr, "the data have no labels; the teacher alone counts")
			o.CE = 0
		}
		break
	}
	return nil
}

// writable says why no file of that name can be made.
func writable(name string) error {
	if name == "" || name == standard {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".onnxopt-*")
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// readState reads a checkpoint, nil if there is none yet.
func readState(name string) (*distill.State, error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	i, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return distill.ReadState(file, i.Size())
}

// draw draws the curve of the training.
func (f *distillFlags) draw(epochs []distill.Epoch) error {
	lines := []page.Line{{Name: "loss"}}
	if !math.IsNaN(epochs[0].HeldLoss) {
		lines = append(lines, page.Line{Name: "on held-out samples"})
	}
	for _, p := range epochs {
		for i, v := range []float64{p.Loss, p.HeldLoss}[:len(lines)] {
			lines[i].Values = append(lines[i].Values, v)
		}
	}
	c := page.Plot{Title: f.student, X: "epoch", Y: "loss", From: 1, Lines: lines}
	b, err := c.Bytes(pictureFormat(f.plot))
	if err != nil {
		return &fileError{f.plot, err}
	}
	return atomically(f.plot, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// pictureFormat is the format of a plot by the ending of its file's name, "" for others.
func pictureFormat(name string) string {
	switch f := strings.ToLower(filepath.Ext(name)); f {
	case ".svg", ".png":
		return f[1:]
	}
	return ""
}
