package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const replayLong = `replay makes a model again that onnxopt --provenance wrote: from the same input, with the same
pipeline and options, which stand in its metadata. It ends with 0 if the bytes are the same.

The input and whatever the options name (calibration data, rules, files of passes) have to be
those of the first time; their hashes are compared before anything runs. Lossy passes with
heavy algebra promise the same bytes on the same kind of processor.`

const replayExample = `onnxopt --provenance model.onnx -o small.onnx
onnxopt replay small.onnx --input model.onnx
onnxopt replay small.onnx --input model.onnx --into again/`

// replayFlags are the options of replay.
type replayFlags struct {
	input, into     string
	json, allowExec bool
	files           fileFlags
}

// replayed is the --json of replay.
type replayed struct {
	Status string      `json:"status"` // "ok", or "failed": other bytes
	Made   *provenance `json:"provenance"`
	Same   bool        `json:"same_bytes"`
}

func (e *env) replayVerb() *cobra.Command {
	f := &replayFlags{}
	cmd := &cobra.Command{
		Use: "replay", Short: "make a model again, and compare the bytes", Long: replayLong, Example: replayExample,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("replay takes one model, not %d", len(args))
			case f.input == "":
				return usagef("of what was it made? --input model.onnx")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.replay(cmd.Context(), f, args[0]) },
	}
	g := newGroup("Options")
	g.StringVar(&f.input, "input", "", "`FILE` that the model was made of")
	g.StringVar(&f.into, "into", "", "keep the model that was made again in folder `DIR`")
	g.BoolVar(&f.allowExec, "allow-exec", false, "let the recorded pipeline run programs")
	g.BoolVar(&f.json, "json", false, "print JSON")
	f.files.add(g)
	setHelp(cmd, "onnxopt replay [options] made.onnx --input model.onnx", g)
	return cmd
}

func (e *env) replay(ctx context.Context, f *replayFlags, name string) (err error) {
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	p, err := provenanceOf(in.model)
	if err != nil {
		return &fileError{in.name, err}
	}
	src, err := e.open(f.input, &f.files, false)
	if err != nil {
		return err
	}
	data := dataNames(src.model)
	src.close()
	if err := p.check(f.input, data); err != nil {
		return err
	}
	if v := readVersion(); v.Version != p.Version || v.Revision != p.Revision {
		e.warn("%s was made by version %s %s, this is %s %s", name, p.Version, p.Revision, v.Version, v.Revision)
	}
	dir := f.into
	if dir == "" {
		if dir, err = os.MkdirTemp("", "onnxopt-replay-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return &fileError{dir, err}
	}
	again := filepath.Join(dir, filepath.Base(name)) // names of data files begin as that of the model
	if a, err := filepath.Abs(again); err == nil {
		if b, err := filepath.Abs(name); err == nil && a == b {
			return usagef("--into %s would replace %s itself", f.into, name)
		}
	}
	args := e.replayArgs(p, f.input, again)
	if f.allowExec {
		args = append(args, "--allow-exec")
	}
	for flag, value := range map[string]string{"--data-root": f.files.dataRoot, "--data-dir": f.files.dataDir} {
		if value != "" {
			args = append(args, flag+"="+value)
		}
	}
	root := (&env{stdin: e.stdin, stdout: e.stdout, stderr: e.stderr, more: e.more, args: args, replaying: true}).root()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		return err
	}
	why, err := differs(name, again, dataNames(in.model))
	if err != nil {
		return err
	}
	r := replayed{statusOf(exitOK), p, why == ""}
	if why != "" {
		r.Status = statusOf(exitFailed)
	}
	if f.json {
		if err := e.json(r); err != nil {
			return err
		}
	} else if why == "" {
		fmt.Fprintf(e.stdout, "%s: the same bytes again, by %s\n", name, strings.Join(append([]string{p.Pipeline}, p.Args...), " "))
	}
	if why != "" {
		return &toldError{&fileError{name, errors.New(why)}}
	}
	return nil
}

// differs says which file of a model differs from that of its copy.
func differs(a, b string, data []string) (string, error) {
	for i, f := range append([]string{""}, data...) {
		x, y := a, b
		if i > 0 {
			x, y = filepath.Join(filepath.Dir(a), filepath.FromSlash(f)), filepath.Join(filepath.Dir(b), filepath.FromSlash(f))
		}
		p, err := hashFile(x)
		if err != nil {
			return "", &fileError{x, err}
		}
		q, err := hashFile(y)
		if err != nil || !bytes.Equal(p, q) {
			return fmt.Sprintf("made again, %s has other bytes", filepath.Base(x)), nil
		}
	}
	return "", nil
}
