package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// watch is what the options under "Watching" attach to a run.
type watch struct {
	hooks   []passes.Hook
	remarks func(passes.Remark)
	plan    *optimize.DryRun
}

// shownElements bounds the elements of a constant in models that are printed for people to read.
const shownElements = 16

// elided prints a model with long constants cut short.
func elided(w io.Writer, m *ir.Model) error {
	b := bufio.NewWriter(w)
	return errors.Join(text.Print(b, m, text.Options{MaxElements: shownElements}), b.Flush())
}

func (j *job) watch() (*watch, error) {
	o := &j.f.observe
	w := &watch{}
	if len(o.printBefore)+len(o.printAfter)+len(o.printDiff) > 0 {
		w.hooks = append(w.hooks, &hook.Print{W: j.clean(), Model: elided, Ahead: o.printBefore, Behind: o.printAfter, AfterChange: o.printDiff})
	}
	if o.dumpDir != "" {
		if err := os.MkdirAll(o.dumpDir, 0o777); err != nil {
			return nil, &fileError{o.dumpDir, err}
		}
		w.hooks = append(w.hooks, &hook.Dump{Dir: o.dumpDir, Model: elided})
	}
	if o.dryRun {
		w.plan = &optimize.DryRun{}
		w.hooks = append(w.hooks, w.plan)
	}
	if o.remarks {
		w.remarks = j.remark
	}
	return w, nil
}

// clean is stderr; progress is taken away before something is written to it.
func (j *job) clean() io.Writer { return cleanWriter{j} }

type cleanWriter struct{ *job }

func (c cleanWriter) Write(b []byte) (int, error) {
	c.show.clear()
	return c.stderr.Write(b)
}

// remark prints one remark of a pass.
func (j *job) remark(r passes.Remark) {
	place := ""
	if r.Op.Type != "" {
		place = fmt.Sprintf(" at %s %q", r.Op, r.Node)
	}
	if r.Graph != "" && r.Graph != j.in.model.Main.Path() {
		place += " in " + r.Graph
	}
	if r.Applied {
		fmt.Fprintf(j.clean(), "remark: %s: %s applied%s\n", r.Path, r.Rule, place)
		return
	}
	fmt.Fprintf(j.clean(), "remark: %s: %s not applied%s, because %s\n", r.Path, r.Rule, place, r.Why)
}
