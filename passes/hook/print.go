package hook

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Printer writes a model as text.
type Printer func(w io.Writer, m *ir.Model) error

// Print writes the model before and after steps. A list names passes; the list {"*"} means all of them.
type Print struct {
	W           io.Writer
	Model       Printer
	Ahead       []string // --print-before
	Behind      []string // --print-after
	AfterChange []string // --print-after-change
}

func named(list []string, s *passes.StepRun) bool {
	return slices.Contains(list, "*") || slices.Contains(list, s.Step.Name())
}

// Before implements passes.Hook.
func (p *Print) Before(s *passes.StepRun) bool {
	if named(p.Ahead, s) {
		_ = p.write("before", s)
	}
	return true
}

// After implements passes.Hook.
func (p *Print) After(s *passes.StepRun, err error) error {
	if err == nil && (named(p.Behind, s) || s.Changed && named(p.AfterChange, s)) {
		return p.write("after", s)
	}
	return err
}

func (p *Print) write(when string, s *passes.StepRun) error {
	if _, err := fmt.Fprintf(p.W, "# model %s %s (step %d)\n", when, s.Path, s.Index+1); err != nil {
		return err
	}
	if err := p.Model(p.W, s.Model); err != nil {
		return err
	}
	_, err := io.WriteString(p.W, "\n")
	return err
}

// Dump writes the model after each step that changed it into a folder: 003-simplify_cse.onnxtxt.
type Dump struct {
	idle
	Dir   string
	Model Printer
}

// After implements passes.Hook.
func (d *Dump) After(s *passes.StepRun, err error) error {
	if err != nil || !s.Changed {
		return err
	}
	if err := os.MkdirAll(d.Dir, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.Dir, fmt.Sprintf("%03d-%s.onnxtxt", s.Index+1, strings.NewReplacer("/", "_", "#", "-").Replace(s.Path))))
	if err != nil {
		return err
	}
	if err := d.Model(f, s.Model); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
