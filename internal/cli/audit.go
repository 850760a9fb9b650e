package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/audit"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/onnxio"
)

const auditLong = `audit says what is dangerous or hidden in a model file, without running it:

  path           external data outside of the model's folder, links out of it, devices
  external-data  external data that are missing, too short, or overlap
  hidden-data    unknown fields, bytes behind the last tensor, elements stated besides
  merged-twice   a message that stands twice and that readers put together
  bomb           values, loops or functions out of proportion to the file
  custom-op      operators that the standard does not have
  nan-weights, inf-weights, unused-data
  name           names with characters that cannot be seen or that reverse text
  large-text     metadata or documentation of more than 64 kB
  training-info  graphs that no inference runs
  invalid        where the model breaks the standard
  unreadable     why the file cannot be read as a model

A finding is a danger or a note. The exit code is 1 if there is a danger; --strict makes it 1
for notes, too. --allow takes a code that is not to be looked for, or a domain whose
operators are known.`

const auditExample = `onnxopt audit model.onnx
onnxopt audit --json model.onnx | jq '.findings[].code'
onnxopt audit --allow com.example --allow inf-weights model.onnx`

// auditFlags are the options of audit.
type auditFlags struct {
	json, strict bool
	allow        []string
	memory       int64
	files        fileFlags
}

// audited is the --json of audit.
type audited struct {
	Status string `json:"status"` // "ok" or "failed"
	File   string `json:"file"`
	*audit.Report
}

func (e *env) auditVerb() *cobra.Command {
	f := &auditFlags{}
	cmd := &cobra.Command{
		Use: "audit", Short: "say what is dangerous or hidden in a file", Long: auditLong, Example: auditExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("audit takes one model, not %d", len(args))
			}
			return f.check()
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.audit(cmd.Context(), f, args[0]) },
	}
	g := newGroup("Options")
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.BoolVar(&f.strict, "strict", false, "notes count as dangers do")
	g.StringArrayVar(&f.allow, "allow", nil, "`CODE` that is not to be looked for, or a domain whose operators are known; may be repeated")
	f.memory = 4 << 30
	g.Var(size{&f.memory}, "max-value", "bytes that a value may take before it is called a bomb")
	f.files.add(g)
	setHelp(cmd, "onnxopt audit [options] model.onnx", g)
	return cmd
}

// check finds codes that are misspelt: a domain has a dot.
func (f *auditFlags) check() error {
	for _, a := range f.allow {
		if !slices.Contains(audit.Codes(), a) && !strings.Contains(a, ".") && spell.Nearest(a, audit.Codes()) != "" {
			return usagef("--allow: there is no code %q%s", a, spell.Hint(a, audit.Codes()))
		}
	}
	return nil
}

func (e *env) audit(ctx context.Context, f *auditFlags, name string) error {
	r, err := e.auditOf(f, name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	bad := r.Dangers
	if f.strict {
		bad += r.Notes
	}
	a := audited{statusOf(exitOK), name, r}
	if bad > 0 {
		a.Status = statusOf(exitFailed)
	}
	if f.json {
		if err := e.json(a); err != nil {
			return err
		}
	} else {
		for _, x := range r.Findings {
			fmt.Fprintf(e.stdout, "%s: %s\n", name, x)
		}
		if r.LeftOut > 0 {
			fmt.Fprintf(e.stdout, "%s: %d further findings of the same codes\n", name, r.LeftOut)
		}
		fmt.Fprintf(e.stdout, "%s: %d danger%s, %d note%s\n", name, r.Dangers, plural(r.Dangers), r.Notes, plural(r.Notes))
	}
	if bad == 0 {
		return nil
	}
	return &toldError{&fileError{name, errors.New(countOf(bad, "finding"))}}
}

func countOf(n int, what string) string { return fmt.Sprintf("%d %s%s", n, what, plural(n)) }

// auditOf audits a file in either notation, or what comes through the pipe.
func (e *env) auditOf(f *auditFlags, name string) (*audit.Report, error) {
	o := audit.Options{DataDir: f.files.dataDir, DataRoot: f.files.dataRoot, Allow: f.allow, MaxMemory: f.memory}
	var b []byte
	var err error
	if name == standard {
		name = "standard input"
		if b, err = io.ReadAll(e.stdin); err == nil && !looksTextual(b[:min(len(b), headSize)]) {
			return audit.Bytes(b, o), nil
		}
	} else {
		head, _, peeked := peek(name)
		switch err = peeked; {
		case err != nil:
		case !looksTextual(head):
			r, err := audit.File(name, o)
			if err != nil {
				return nil, &fileError{name, err}
			}
			return r, nil
		default:
			b, err = os.ReadFile(name)
		}
	}
	if err != nil {
		return nil, &fileError{name, err}
	}
	in, err := parse(name, b, onnxio.Options{DataDir: o.DataDir, DataRoot: o.DataRoot})
	if err != nil {
		return nil, &fileError{name, err}
	}
	defer in.close()
	var r *audit.Report
	err = onnxio.Guard(func() error {
		r = audit.Model(in.model, o)
		return nil
	})
	return r, err
}
