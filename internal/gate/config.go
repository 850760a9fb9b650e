// Package gate holds models against budgets: limits on size, cost, operators, versions and drift that a file states for a repository.
package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets/all"
)

// Config is onnxopt.yaml.
type Config struct {
	// Baseline is a file of numbers and known violations that WriteBaseline wrote, beside the configuration.
	Baseline string   `yaml:"baseline"`
	Defaults Budget   `yaml:"defaults"`
	Models   []*Entry `yaml:"models"`

	file, dir string
}

// Entry is a budget for the models that a path names.
type Entry struct {
	Path   string `yaml:"path"` // may have * and ?, as a shell reads them; below the configuration's folder
	Budget `yaml:",inline"`
}

// Budget is what a model must keep. A field that is not given is not looked at.
type Budget struct {
	MaxBytes      *Bytes   `yaml:"max-bytes"` // of the file and its data files
	MaxNodes      *int64   `yaml:"max-nodes"`
	MaxParameters *Count   `yaml:"max-parameters"`
	MaxMACs       *Count   `yaml:"max-macs"`
	MaxActivation *Bytes   `yaml:"max-activation"` // bytes of values alive at once
	MaxGrowth     *Percent `yaml:"max-growth"`     // of each number over the baseline

	AllowedOps []string `yaml:"allowed-ops"` // patterns of operators; others are refused
	DeniedOps  []string `yaml:"denied-ops"`
	Opset      *Range   `yaml:"opset"`
	IRVersion  *Range   `yaml:"ir-version"`
	Targets    []string `yaml:"targets"` // that have to be able to run the model
	Drift      *Drift   `yaml:"max-drift"`
	Audit      *bool    `yaml:"audit"` // no danger that onnxopt audit finds

	Sizes map[string]int64 `yaml:"sizes"` // of open dimensions of the inputs
}

// Drift bounds the difference max|a-b| / max(max|a|, 1e-6) to another model.
type Drift struct {
	Against string  `yaml:"against"` // the original, below the configuration's folder
	Bound   float64 `yaml:"bound"`
	Data    string  `yaml:"data"` // inputs; generated ones if it is not given
}

// Bytes is a size: 20M, powers of 1024.
type Bytes int64

// UnmarshalYAML reads it.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	var s passes.Size
	if err := s.UnmarshalText([]byte(n.Value)); err != nil {
		return at(n, "%v", err)
	}
	*b = Bytes(s)
	return nil
}

// Count is a number: 1.2G, powers of 1000.
type Count int64

// UnmarshalYAML reads it.
func (c *Count) UnmarshalYAML(n *yaml.Node) error {
	text, factor := n.Value, 1.0
	for i, suffix := range []string{"k", "M", "G", "T"} {
		if s, ok := strings.CutSuffix(text, suffix); ok {
			text, factor = s, math.Pow(1000, float64(i+1))
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f*factor > 1<<62 || f != f {
		return at(n, "%q is no number like 300, 12M or 1.2G", n.Value)
	}
	*c = Count(math.Round(f * factor))
	return nil
}

// Percent is "5%".
type Percent float64

// UnmarshalYAML reads it.
func (p *Percent) UnmarshalYAML(n *yaml.Node) error {
	s, ok := strings.CutSuffix(n.Value, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if !ok || err != nil || f < 0 || math.IsInf(f, 0) || f != f {
		return at(n, "%q is no percentage like 5%%", n.Value)
	}
	*p = Percent(f)
	return nil
}

// Range is "13..17", "13..", "..17" or one number.
type Range struct{ Min, Max int64 }

// UnmarshalYAML reads it.
func (r *Range) UnmarshalYAML(n *yaml.Node) error {
	lo, hi, two := strings.Cut(n.Value, "..")
	if !two {
		hi = lo
	}
	*r = Range{0, math.MaxInt64}
	for _, end := range []struct {
		text string
		to   *int64
	}{{lo, &r.Min}, {hi, &r.Max}} {
		if end.text == "" && two {
			continue
		}
		v, err := strconv.ParseInt(end.text, 10, 64)
		if err != nil || v < 0 {
			return at(n, "%q is no range like 13..17", n.Value)
		}
		*end.to = v
	}
	if r.Min > r.Max {
		return at(n, "%q is an empty range", n.Value)
	}
	return nil
}

func (r Range) String() string {
	switch {
	case r.Min == r.Max:
		return fmt.Sprint(r.Min)
	case r.Max == math.MaxInt64:
		return fmt.Sprintf("%d..", r.Min)
	case r.Min == 0:
		return fmt.Sprintf("..%d", r.Max)
	}
	return fmt.Sprintf("%d..%d", r.Min, r.Max)
}

func at(n *yaml.Node, format string, a ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, a...))
}

// Load reads a configuration. An error names the line.
func Load(file string) (*Config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := Parse(b)
	if err != nil {
		return nil, err
	}
	c.file, c.dir = file, filepath.Dir(file)
	return c, nil
}

// maxConfig bounds a configuration, so that aliases cannot blow it up.
const maxConfig = 1 << 20

// Parse reads a configuration whose paths are those of the working folder.
func Parse(b []byte) (*Config, error) {
	if len(b) > maxConfig {
		return nil, fmt.Errorf("it has %d bytes; a configuration has at most %d", len(b), maxConfig)
	}
	c := &Config{dir: "."}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil {
		return nil, readable(err)
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	if len(c.Models) == 0 {
		return nil, errors.New("it lists no models")
	}
	for i, e := range c.Models {
		if e == nil || e.Path == "" {
			return nil, fmt.Errorf("models[%d] has no path", i)
		}
		if _, err := filepath.Match(e.Path, ""); err != nil || !filepath.IsLocal(filepath.FromSlash(e.Path)) {
			return nil, fmt.Errorf("models[%d]: path %q is no pattern below this folder", i, e.Path)
		}
		e.inherit(c.Defaults)
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("models[%d] (%s): %w", i, e.Path, err)
		}
	}
	return c, nil
}

// The errors of the YAML decoder that speak of Go's types.
var (
	wrongKind  = regexp.MustCompile("^line (\\d+): cannot unmarshal !!(\\w+)(?: `(.*)`)? into (.*)$")
	unknownKey = regexp.MustCompile(`^line (\d+): field (.*) not found in type gate\.(\w+)$`)
)

// readable words yaml's errors in one line, without Go's types.
func readable(err error) error {
	var t *yaml.TypeError
	if !errors.As(err, &t) || len(t.Errors) == 0 {
		return errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	text := t.Errors[0]
	if m := wrongKind.FindStringSubmatch(text); m != nil {
		found := kind(m[2])
		if m[3] != "" {
			found = strconv.Quote(m[3])
		}
		wanted := kind(m[4]) + " has"
		if strings.HasPrefix(wanted, "keys") {
			wanted = "keys and values have"
		}
		return fmt.Errorf("line %s: %s where %s to be", m[1], found, wanted)
	}
	if m := unknownKey.FindStringSubmatch(text); m != nil {
		of := map[string]reflect.Type{"Config": reflect.TypeFor[Config](), "Entry": reflect.TypeFor[Entry](), "Budget": reflect.TypeFor[Budget](), "Drift": reflect.TypeFor[Drift]()}
		return fmt.Errorf("line %s: there is no key %q%s", m[1], m[2], spell.Hint(m[2], keysOf(of[m[3]])))
	}
	return errors.New(text)
}

// kind words a kind of YAML, or a Go type that stands for one.
func kind(name string) string {
	switch {
	case name == "seq" || strings.HasPrefix(name, "[]"):
		return "a list"
	case name == "str" || name == "string":
		return "a text"
	case name == "bool":
		return "true or false"
	case name == "null":
		return "nothing"
	case name == "map" || strings.HasPrefix(name, "map[") || strings.HasPrefix(name, "gate."):
		return "keys and values"
	}
	return "a number"
}

// keysOf are the keys that a type is read from.
func keysOf(t reflect.Type) (keys []string) {
	if t == nil {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		switch tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); {
		case f.Anonymous:
			keys = append(keys, keysOf(f.Type)...)
		case tag != "":
			keys = append(keys, tag)
		}
	}
	return keys
}

// inherit takes from d what b does not say.
func (b *Budget) inherit(d Budget) {
	or(&b.MaxBytes, d.MaxBytes)
	or(&b.MaxNodes, d.MaxNodes)
	or(&b.MaxParameters, d.MaxParameters)
	or(&b.MaxMACs, d.MaxMACs)
	or(&b.MaxActivation, d.MaxActivation)
	or(&b.MaxGrowth, d.MaxGrowth)
	or(&b.Opset, d.Opset)
	or(&b.IRVersion, d.IRVersion)
	or(&b.Drift, d.Drift)
	or(&b.Audit, d.Audit)
	if b.AllowedOps == nil {
		b.AllowedOps = d.AllowedOps
	}
	if b.DeniedOps == nil {
		b.DeniedOps = d.DeniedOps
	}
	if b.Targets == nil {
		b.Targets = d.Targets
	}
	if b.Sizes == nil {
		b.Sizes = d.Sizes
	}
}

func or[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

// check finds values that make no sense.
func (b *Budget) check() error {
	for _, t := range b.Targets {
		if found, hint := all.Lookup(t); found == nil {
			return fmt.Errorf("there is no target %q%s", t, hint)
		}
	}
	if slices.Contains(append(slices.Clone(b.AllowedOps), b.DeniedOps...), "") {
		return errors.New("an operator's pattern is empty")
	}
	if d := b.Drift; d != nil {
		switch {
		case d.Against == "":
			return errors.New("max-drift needs against: the original model")
		case !(d.Bound >= 0) || math.IsInf(d.Bound, 0):
			return fmt.Errorf("max-drift: bound %g is no bound", d.Bound)
		}
	}
	return nil
}
