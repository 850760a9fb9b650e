package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/internal/fuzz"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	passlist "github.com/onnxopt/onnxopt/passes/all"
)

// each takes a model with inputs. It may change the model.
type each func(name string, m *ir.Model, in map[string]ir.Datum) error

// models gives those that are asked for.
func models(ctx context.Context, o *options, f each) error {
	for _, folder := range o.folders {
		paths, _ := filepath.Glob(filepath.Join(folder, "*.onnx"))
		if len(paths) == 0 {
			return fmt.Errorf("there are no models in %s", folder)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if err := o.bytes(strings.TrimSuffix(filepath.Base(p), ".onnx"), b, f); err != nil {
				return err
			}
		}
	}
	if o.nodes {
		tests, err := nodeTests("testdata/conformance/onnx-node-tests.tar.gz")
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(tests)) {
			if err := o.bytes(name, tests[name], f); err != nil {
				return err
			}
		}
	}
	if o.random == "" {
		return nil
	}
	var from, to uint64
	if n, _ := fmt.Sscanf(o.random, "%d-%d", &from, &to); n != 2 {
		return errors.New("-random takes FROM-TO")
	}
	reg, err := passlist.Registry()
	if err != nil {
		return err
	}
	z, err := fuzz.New(reg, os.DirFS("passes"), nil)
	if err != nil {
		return err
	}
	for seed := from; seed <= to; seed++ {
		c := z.Make(ctx, seed)
		if c == nil || len(c.Sets) == 0 {
			continue
		}
		if err := f(fmt.Sprintf("random-%d", seed), c.Model, maps.Clone(c.Sets[0].Inputs)); err != nil {
			return err
		}
	}
	return nil
}

// bytes gives the model of a file, on generated inputs.
func (o *options) bytes(name string, b []byte, f each) error {
	file, err := onnxio.Read(b, onnxio.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m := file.Model // the file stays open: its constants may be results
	sets := compare.Inputs(m, 1, compare.GenerateOptions{})
	if len(sets) == 0 {
		return nil
	}
	in := maps.Clone(sets[0])
	for i := len(m.Main.Inputs()) - 1; o.frozen && i > 0; i-- {
		slot := m.Main.Inputs()[i]
		if x, ok := in[slot.Name()].(*ir.Tensor); ok {
			slot.Value().ReplaceUses(m.Main.Const(x))
			delete(in, slot.Name())
			m.Main.RemoveInput(i)
		}
	}
	return f(name, m, in)
}

// nodeTests are the models of ONNX's node tests.
func nodeTests(archive string) (map[string][]byte, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	r := map[string][]byte{}
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if err == io.EOF {
			return r, nil
		} else if err != nil {
			return nil, err
		}
		if path.Base(h.Name) == "model.onnx" {
			if r[path.Base(path.Dir(h.Name))], err = io.ReadAll(a); err != nil {
				return nil, err
			}
		}
	}
}
