package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/recipe"
	"github.com/onnxopt/onnxopt/ir"
)

// provenanceKey is the metadata property that --provenance writes.
const provenanceKey = "onnxopt.provenance"

// provenance says how a model was made. Its JSON form is stable.
type provenance struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	// Args are the options that decide on the result, as on the command line.
	Args     []string          `json:"args"`
	Pipeline string            `json:"pipeline"`
	Input    string            `json:"input_sha256"` // of the model and its data files
	Files    map[string]string `json:"files_sha256"` // of what options name, by path; of a folder, over all files in it
	Undone   []rewriteOutcome  `json:"undone,omitempty"`
	Rewrites int               `json:"rewrites"`
}

// deciding are the options that change the result; recipes may hold them, too.
func deciding() []string {
	names := []string{"recipe", "passes", "opt", "skip", "rules", "rules-trusted", "freeze-defaults", "seed", "verify", "verify-budget", "data", "limit", "on-mismatch",
		"bisect-limit", "calib", "calib-limit", "floor", "metric", "engine", "labels", "label-column", "cast", "skip-bad", "keep-origin", "format",
		"external-data", "external-threshold", "shard-size", "external-align"}
	for _, k := range picture.Keys() {
		names = append(names, k[0])
	}
	return names
}

// naming are those of them that name files or folders.
func namingFiles() []string { return []string{"recipe", "rules", "data", "calib", "labels"} }

// deciders are the arguments of args that are deciding options, each as one word.
func deciders(flags *pflag.FlagSet, args []string) (r []string) {
	known := deciding()
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			break
		}
		if a == standard || !strings.HasPrefix(a, "-") {
			continue
		}
		name, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		f := flags.Lookup(name)
		if !strings.HasPrefix(a, "--") { // -p TEXT, -pTEXT, -O2
			name, value = a[1:2], strings.TrimPrefix(a[2:], "=")
			if f = flags.ShorthandLookup(name); f != nil && f.NoOptDefVal != "" {
				continue // -q, -v
			}
			joined = len(a) > 2
		}
		if f == nil {
			continue
		}
		switch {
		case joined:
		case f.NoOptDefVal != "":
			value = f.NoOptDefVal
		case i+1 < len(args):
			i++
			value = args[i]
		}
		if slices.Contains(known, f.Name) {
			r = append(r, "--"+f.Name+"="+value)
		}
	}
	return r
}

// applyRecipe sets the options of a recipe that the command line does not set itself.
func applyRecipe(flags *pflag.FlagSet, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return &fileError{file, err}
	}
	r, err := recipe.Parse(b)
	if err != nil {
		return &fileError{file, err}
	}
	if r.Pipeline != "" {
		r.Options = append(r.Options, recipe.Option{Name: "passes", Value: r.Pipeline, Line: 1})
	}
	given := map[string]bool{}
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	if given["opt"] {
		given["passes"] = true
	}
	for _, o := range r.Options {
		if given[o.Name] {
			continue
		}
		if !slices.Contains(deciding(), o.Name) || o.Name == "recipe" {
			return &fileError{file, fmt.Errorf("line %d: a recipe cannot hold option %q", o.Line, o.Name)}
		}
		if slices.Contains(namingFiles(), o.Name) && !filepath.IsAbs(o.Value) {
			o.Value = filepath.Join(filepath.Dir(file), o.Value) // beside the recipe
		}
		if err := flags.Set(o.Name, o.Value); err != nil {
			return &fileError{file, fmt.Errorf("line %d: option %s: %w", o.Line, o.Name, err)}
		}
	}
	return nil
}

// record puts the provenance of the result into its metadata.
func (j *job) record(m *ir.Model) error {
	if j.in.name == "standard input" {
		return usagef("--provenance needs a model in a file, whose hash it keeps")
	}
	v := readVersion()
	p := provenance{Version: v.Version, Revision: v.Revision, Args: j.f.args, Pipeline: j.outcome.Pipeline, Files: map[string]string{},
		Undone: j.outcome.Undone, Rewrites: j.outcome.Rewrites}
	var err error
	if p.Input, err = hashModel(j.in.name, j.original); err != nil {
		return err
	}
	files := map[string]bool{j.f.recipe: true, j.f.data.data: true, j.f.calib.path: true, j.f.data.labels: true}
	for _, f := range j.f.rules {
		files[f] = true
	}
	named, data := j.plan.parsed.Files()
	for _, f := range named {
		files[string(f)] = true
	}
	for _, f := range data {
		files[string(f)] = true
	}
	for f, is := range files {
		if is && f != "" {
			if p.Files[f], err = hashPath(f); err != nil {
				return &fileError{f, err}
			}
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	m.Meta = m.Meta.With(provenanceKey, string(b))
	return nil
}

// dataNames are the data files that the model refers to.
func dataNames(m *ir.Model) []string {
	seen := map[string]bool{}
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			if x, ok := v.Const().Payload().(keep.External); ok {
				for _, p := range x.External() {
					if p.Key == "location" {
						seen[p.Value] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// hashModel is the hash of a model and its data files.
func hashModel(name string, data []string) (string, error) {
	h := sha256.New()
	for _, f := range append([]string{name}, data...) {
		path := f
		if f != name {
			path = filepath.Join(filepath.Dir(name), filepath.FromSlash(f))
		}
		sum, err := hashFile(path)
		if err != nil {
			return "", &fileError{path, err}
		}
		h.Write(sum)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("this is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}

// hashPath is the hash of a file, or of all regular files below a folder with their names.
func hashPath(path string) (string, error) {
	path, _, _ = dataset.Split(path) // all of a set
	h := sha256.New()
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, err := hashFile(p)
		if err != nil {
			return nil // a FIFO or a device is no data
		}
		rel, err := filepath.Rel(path, p)
		fmt.Fprintf(h, "%s %x\n", filepath.ToSlash(rel), sum)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// provenanceOf reads what --provenance wrote.
func provenanceOf(m *ir.Model) (*provenance, error) {
	text, ok := m.Meta.Get(provenanceKey)
	if !ok {
		return nil, errors.New("it does not say how it was made; onnxopt --provenance writes that")
	}
	p := &provenance{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fmt.Errorf("its provenance cannot be read: %w", err)
	}
	return p, nil
}

// check finds inputs that are not those that the model was made of.
func (p *provenance) check(input string, data []string) error {
	sum, err := hashModel(input, data)
	if err != nil {
		return err
	}
	if sum != p.Input {
		return &fileError{input, errors.New("this is not the model that it was made of: the hashes differ")}
	}
	for _, f := range slices.Sorted(maps.Keys(p.Files)) {
		if sum, err := hashPath(f); err != nil || sum != p.Files[f] {
			return &fileError{f, errors.New("this is not what it was made with: the hashes differ, or it is not there")}
		}
	}
	return nil
}

// replayArgs is the command line that makes the model again. Only options that decide on the result are taken from a file.
func (e *env) replayArgs(p *provenance, input, output string) []string {
	return append(deciders(e.root().Flags(), p.Args), "--provenance", "--quiet", input, "-o", output)
}
