package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/onnxopt/onnxopt/ir"
)

// Item is an artifact with inputs by the names of the model's inputs.
type Item struct {
	Artifact string
	Inputs   map[string]ir.Datum
	Options  Options
}

// mostSeconds is how long an item may take.
const mostSeconds = 120

// RunMany runs artifacts one after the other, each once and in a process of its own that is a copy of one which has loaded the runtime: for
// many small ones this takes a fraction of the time of as many Starts. each is told what came of every item; what a runtime says of an
// artifact, also that it ends the process, is its error. Where processes cannot be copied, as on Windows, RunMany fails.
func (c *Consumer) RunMany(ctx context.Context, python string, items []Item, each func(i int, r *Result, err error)) error {
	if python == "" {
		return &MissingError{c, ""}
	}
	dir, err := os.MkdirTemp("", "onnxopt-consumer-")
	if err != nil {
		return err
	}
	s, err := c.process(ctx, python, dir)
	if err != nil {
		return err
	}
	defer s.Close()
	for i, item := range items {
		r, err := s.item(ctx, i, &item)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.cmd.ProcessState != nil { // the script itself has ended
			return err
		}
		each(i, r, err)
	}
	return nil
}

// item runs one.
func (s *Session) item(ctx context.Context, i int, item *Item) (*Result, error) {
	files := filepath.Join(s.dir, strconv.Itoa(i))
	defer os.Remove(files + ".in.npz")
	defer os.Remove(files + ".out.npz")
	names := slices.Sorted(maps.Keys(item.Inputs))
	if err := s.feed(files+".in.npz", names, item.Inputs); err != nil {
		return nil, err
	}
	ask, err := json.Marshal(map[string]any{
		"artifact": item.Artifact, "options": item.Options.fields(), "in": files + ".in.npz", "out": files + ".out.npz", "inputs": append([]string{}, names...), "seconds": mostSeconds,
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.in.Write(append(ask, '\n')); err != nil {
		return nil, errors.Join(s.ended(ctx), err)
	}
	var got struct{ Outputs []string }
	if err := s.answer(ctx, &got); err != nil {
		return nil, err
	}
	return results(files+".out.npz", got.Outputs, nil)
}
