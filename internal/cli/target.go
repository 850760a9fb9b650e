package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
)

// targetOf finds the target that --target names, with options or without.
func targetOf(text string) (*targets.Target, error) {
	name, _, _ := strings.Cut(text, "{")
	t, hint := all.Lookup(strings.TrimSpace(name))
	if t == nil {
		return nil, usagef("there is no target %q%s", name, hint)
	}
	if _, err := t.Emitter(text, nil); err != nil {
		return nil, usagef("--target: %v", err)
	}
	return t, nil
}

// limited is the target with the limits that --max-ram and --max-flash state, unless its own options do.
func limited(t *targets.Target, text string, limits map[string]int64) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if limits[name] == 0 {
			continue
		}
		if !slices.ContainsFunc(t.Options(), func(o passes.OptionDoc) bool { return o.Name == name }) {
			return "", usagef("--%s: target %s has no limit of memory that is known before it runs", name, t.Name)
		}
		size, err := passes.Size(limits[name]).MarshalText()
		if err != nil {
			return "", err
		}
		option := name + "=" + string(size)
		head, rest, braced := strings.Cut(text, "{")
		switch {
		case !braced:
			text = head + "{" + option + "}"
		case !strings.Contains(rest, name+"="):
			text = head + "{" + option + " " + rest
		}
	}
	return text, nil
}

// emit writes the artifact of --target.
func (j *job) emit(ctx context.Context) error {
	t, m := j.plan.target, j.in.model
	if err := t.Check(m); err != nil {
		return &fileError{j.in.name, err}
	}
	a := &artifact{main: j.f.output, job: j, ctx: ctx}
	defer a.discard()
	p, err := t.Emitter(j.f.target, a)
	if err != nil {
		return usagef("--target: %v", err)
	}
	if _, err := p.Run(ctx, m, passes.Config{Files: j.files}); err != nil {
		var step *passes.StepError
		if errors.As(err, &step) {
			err = step.Err
		}
		return &fileError{j.in.name, err}
	}
	return a.commit()
}

// artifact collects the files of a target under other names until all of them are whole.
type artifact struct {
	main  string
	job   *job
	files []*pending
	model *ir.Model // to be written under the main name; nil: that is one of the files
	ctx   context.Context
}

type pending struct {
	name, temp string
	f          *os.File
	w          *bufio.Writer
}

// path is the place of the file with a suffix.
func (a *artifact) path(suffix string) string {
	if suffix == "" {
		return a.main
	}
	return strings.TrimSuffix(a.main, filepath.Ext(a.main)) + suffix
}

// Name implements targets.Artifact.
func (a *artifact) Name(suffix string) string { return filepath.Base(a.path(suffix)) }

// File implements targets.Artifact.
func (a *artifact) File(suffix string) (io.Writer, error) {
	name := a.path(suffix)
	if slices.ContainsFunc(a.files, func(p *pending) bool { return p.name == name }) {
		return nil, fmt.Errorf("%s would be written twice", name)
	}
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%08x.tmp", filepath.Base(name), rand.Uint32()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, &fileError{name, err}
	}
	p := &pending{name, temp, f, bufio.NewWriterSize(f, 1<<16)}
	a.files = append(a.files, p)
	return p.w, nil
}

// Model implements targets.Artifact. It is written last.
func (a *artifact) Model(m *ir.Model) error {
	if a.model != nil {
		return errors.New("the model would be written twice")
	}
	a.model = m
	return nil
}

// Note implements targets.Artifact.
func (a *artifact) Note(text string) { a.job.note(a.job.plan.target.Name, text) }

// commit gives all files their names, the one that was asked for last.
func (a *artifact) commit() error {
	for _, p := range a.files {
		if err := errors.Join(p.w.Flush(), p.f.Close()); err != nil {
			return &fileError{p.name, err}
		}
	}
	slices.SortStableFunc(a.files, func(p, q *pending) int {
		switch {
		case p.name == a.main && q.name != a.main:
			return 1
		case q.name == a.main && p.name != a.main:
			return -1
		}
		return 0
	})
	for len(a.files) > 0 {
		p := a.files[0]
		info, err := os.Stat(p.temp)
		if err == nil {
			err = os.Rename(p.temp, p.name)
		}
		if err != nil {
			return &fileError{p.name, err}
		}
		a.files = a.files[1:]
		if p.name == a.main {
			a.job.outcome.OutputBytes = info.Size()
		} else {
			a.job.outcome.DataFiles = append(a.job.outcome.DataFiles, p.name)
		}
	}
	a.job.outcome.Output = a.main
	if a.model == nil {
		return nil
	}
	done, err := a.job.writeModel(a.main, a.job.f.outFormat.value, a.model, a.job.f.layout(a.ctx, false))
	if err != nil {
		return err
	}
	a.job.outcome.OutputBytes, a.job.outcome.DataFiles = done.Bytes, append(a.job.outcome.DataFiles, done.Data...)
	a.job.notes(done.Remarks)
	return nil
}

// discard removes what was not committed.
func (a *artifact) discard() {
	for _, p := range a.files {
		p.f.Close()
		os.Remove(p.temp)
	}
}
