package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

// dataFlags say which data a verb takes and how it reads them.
type dataFlags struct {
	data, labels, labelColumn string
	image                     imageSettings
	cast, skipBad             bool
	limit                     int
}

func (d *dataFlags) group(title string) group {
	g := newGroup(title)
	g.StringVar(&d.data, "data", "", "data set: `PATH` of .npz, .npy, CSV, IDX or CIFAR-10 files, of pairs of sentences (.tsv), of a folder of arrays, ONNX test data or pictures; PATH[A:B] for samples A up to B")
	g.Var(count{&d.limit}, "limit", "take the first N samples only, 0 for all")
	g.StringVar(&d.labels, "labels", "", "`FILE` of labels, where they are not beside the data by convention")
	g.StringVar(&d.labelColumn, "label-column", "", "`NAME` of the column or array of labels")
	g.BoolVar(&d.cast, "cast", false, "round numbers that the model's element type does not hold exactly")
	g.BoolVar(&d.skipBad, "skip-bad", false, "leave out samples that cannot be read, and say how many")
	for _, k := range picture.Keys() {
		g.Var(&imageFlag{&d.image, k[0]}, k[0], "pictures: "+k[1])
	}
	g.Lookup("bgr").NoOptDefVal = "true"
	return g
}

// imageSettings are settings of pictures in the order of the command line, a preset first.
type imageSettings []dataset.Setting

// imageFlag is one of them.
type imageFlag struct {
	to  *imageSettings
	key string
}

var _ pflag.Value = &imageFlag{}

func (f *imageFlag) Type() string   { return strings.ToUpper(f.key) }
func (f *imageFlag) String() string { return "" }
func (f *imageFlag) Set(value string) error {
	var check picture.Spec
	if err := check.Set(f.key, value); err != nil {
		return err
	}
	k := dataset.Setting{Key: f.key, Value: value}
	if f.key == "preset" {
		*f.to = append(imageSettings{k}, *f.to...)
	} else {
		*f.to = append(*f.to, k)
	}
	return nil
}

// raw opens the data set for itself.
func (d *dataFlags) raw(path string) (*dataset.Set, error) {
	return dataset.Open(path, dataset.Options{Raw: true, Image: d.image, Labels: d.labels, LabelColumn: d.labelColumn, SkipBad: d.skipBad})
}

// open opens the data set for a model.
func (d *dataFlags) open(m *ir.Model, path string, whole bool) (*dataset.Set, error) {
	return dataset.Open(path, dataset.Options{
		Inputs: dataset.Inputs(m), Outputs: dataset.Outputs(m), Whole: whole, Image: d.image,
		Labels: d.labels, LabelColumn: d.labelColumn, Cast: d.cast, SkipBad: d.skipBad,
	})
}

// skipped says what a set left out.
func (e *env) skipped(s *dataset.Set) {
	n, errs := s.Skipped()
	for _, err := range errs {
		e.warn("left out: %v", err)
	}
	if n > len(errs) {
		e.warn("left out: %d further samples", n-len(errs))
	}
}

// sets is a data set as a source of a comparison, of at most limit samples.
func sets(ctx context.Context, s *dataset.Set, limit int) compare.Source {
	return compare.Data(iter.Seq2[compare.Set, error](func(yield func(compare.Set, error) bool) {
		n := 0
		for b, err := range s.Batches(ctx, 1) {
			if err != nil {
				yield(compare.Set{}, err)
				return
			}
			if n++; !yield(compare.Set{Inputs: b.Inputs, Label: b.Samples[0].Name}, nil) || n == limit {
				return
			}
		}
	}))
}

// given reads the inputs that --input names: files of several arrays, or NAME=FILE and NAME=VALUE.
func given(m *ir.Model, specs []string, d *dataFlags) (compare.Set, error) {
	ports := dataset.Inputs(m)
	set := compare.Set{Inputs: map[string]ir.Datum{}, Label: strings.Join(specs, ", ")}
	var files []string
	for _, spec := range specs {
		p, text := inputSpec(ports, spec)
		if p == nil {
			files = append(files, spec)
			continue
		}
		v, err := inputValue(p, text)
		if err != nil {
			return set, fmt.Errorf("--input %s: %w", p.Name, err)
		}
		set.Inputs[p.Name] = v
		p.Optional = true // files need not have it
	}
	for _, path := range files {
		if err := wholeFile(&set, m, ports, path, d); err != nil {
			return set, err
		}
	}
	for _, p := range ports {
		if !p.Optional && set.Inputs[p.Name] == nil {
			return set, fmt.Errorf("there is nothing for input %q; --input %s=FILE or %s=VALUE gives it", p.Name, p.Name, p.Name)
		}
	}
	return set, nil
}

// inputSpec splits NAME=REST at the longest name of an input; p is nil where there is none.
func inputSpec(ports []dataset.Port, spec string) (p *dataset.Port, text string) {
	for i := range ports {
		rest, ok := strings.CutPrefix(spec, ports[i].Name+"=")
		if ok && (p == nil || len(ports[i].Name) > len(p.Name)) {
			p, text = &ports[i], rest
		}
	}
	return p, text
}

// inputValue is a file of an array, or the value itself.
func inputValue(p *dataset.Port, text string) (ir.Datum, error) {
	ext := strings.ToLower(filepath.Ext(text))
	if _, err := os.Stat(text); err == nil || ext == ".npy" || ext == ".pb" {
		return dataset.ReadValue(text, p)
	}
	return dataset.ParseValue(text, p)
}

// wholeFile takes the one sample of a file or folder.
func wholeFile(set *compare.Set, m *ir.Model, ports []dataset.Port, path string, d *dataFlags) error {
	if name, _, ok := strings.Cut(path, "="); ok {
		if _, err := os.Stat(path); err != nil {
			var names []string
			for _, p := range ports {
				names = append(names, p.Name)
			}
			return fmt.Errorf("the model has no input %q%s", name, spell.Hint(name, names))
		}
	}
	s, err := dataset.Open(path, dataset.Options{Inputs: ports, Outputs: dataset.Outputs(m), Whole: true, Image: d.image, Cast: d.cast})
	if err != nil {
		return err
	}
	defer s.Close()
	taken := false
	for sample, err := range s.Samples(context.Background()) {
		switch {
		case err != nil:
			return err
		case taken:
			return fmt.Errorf("%s holds several samples; --input takes the inputs of one run, --data a set", path)
		}
		taken = true
		for name, v := range sample.Inputs {
			if set.Inputs[name] == nil {
				set.Inputs[name] = v
			}
		}
	}
	if !taken {
		return fmt.Errorf("%s holds no sample", path)
	}
	return nil
}

// generator makes inputs for a model.
func generator(m *ir.Model, seed uint64, sizes sizes) compare.Source {
	return compare.NewGenerator(m, compare.GenerateOptions{Seed: seed, Sizes: sizes})
}

// runGenerated runs the model on the first generated inputs that it takes.
func runGenerated(ctx context.Context, s engine.Session, src compare.Source) (set compare.Set, out map[string]ir.Datum, taps []ir.Datum, err error) {
	last := errors.New("no inputs could be generated")
	for set, err := range src.Sets(ctx) {
		if err != nil {
			return set, nil, nil, err
		}
		if out, taps, err = s.RunTaps(ctx, set.Inputs); err == nil {
			return set, out, taps, nil
		}
		if last = err; ctx.Err() != nil || !src.Refused(err) {
			break
		}
	}
	return set, nil, nil, fmt.Errorf("the model does not run on generated inputs: %w; --input gives others", last)
}

// valueNamed finds a value of the main graph by name.
func valueNamed(m *ir.Model, name string) (*ir.Value, error) {
	var names []string
	for _, s := range m.Main.Inputs() {
		if s.Name() == name {
			return s.Value(), nil
		}
	}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v == nil {
				continue
			}
			if v.Name() == name {
				return v, nil
			}
			names = append(names, v.Name())
		}
	}
	if i := slices.IndexFunc(m.Main.Outputs(), func(s *ir.Slot) bool { return s.Name() == name }); i >= 0 {
		return m.Main.Outputs()[i].Value(), nil
	}
	return nil, fmt.Errorf("there is no value %q in the main graph%s", name, spell.Hint(name, names))
}

// estimate words how far work has come, with the time that is left by the pace so far.
func estimate(begun time.Time, done, total int) string {
	if total <= 0 {
		return fmt.Sprintf("%d samples", done)
	}
	s := fmt.Sprintf("%d of %d samples", done, total)
	if spent := time.Since(begun); done > 0 && spent > 2*time.Second {
		left := time.Duration(float64(spent) / float64(done) * float64(total-done))
		s += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	return s
}
