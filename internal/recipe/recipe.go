// Package recipe reads recipes: pipelines and options of the command line in YAML, for what is too long for one line.
package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onnxopt/onnxopt/passes"
)

// Recipe is a pipeline, as -p takes it, and options of the command line, in the order of the file.
type Recipe struct {
	Pipeline string
	Options  []Option
}

// Option is an option without its dashes.
type Option struct {
	Name, Value string
	Line        int
}

// The bounds of a recipe: bytes, and how deep passes nest.
const (
	maxBytes = 1 << 20
	maxDepth = 20
)

// Parse reads a recipe:
//
//	passes:
//	  - simplify
//	  - quantize: {mode: static, only: [conv1, conv2]}
//	  - fixpoint: {max: 4, passes: [cse, constfold]}
//	options:
//	  calib: photos/
//	  seed: 3
//
// An error names the line. Aliases of YAML are refused.
func Parse(b []byte) (*Recipe, error) {
	if len(b) > maxBytes {
		return nil, fmt.Errorf("it has %d bytes; a recipe has at most %d", len(b), maxBytes)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	r := &Recipe{}
	err := pairs(doc.Content[0], func(key string, v *yaml.Node) (err error) {
		switch key {
		case "passes":
			r.Pipeline, err = list(v, 0)
		case "options":
			err = pairs(v, func(name string, x *yaml.Node) error { return r.option(name, x) })
		default:
			err = at(v, "there is no part %q; there are passes and options", key)
		}
		return err
	})
	if err == nil && r.Pipeline == "" && len(r.Options) == 0 {
		err = errors.New("it has neither passes nor options")
	}
	return r, err
}

func at(n *yaml.Node, format string, a ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, a...))
}

// pairs calls f for the entries of a mapping.
func pairs(n *yaml.Node, f func(key string, v *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "this is no list of keys and values")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || seen[k.Value] {
			return at(k, "%q is repeated, or no key", k.Value)
		}
		seen[k.Value] = true
		if err := f(k.Value, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recipe) option(name string, x *yaml.Node) error {
	values := []*yaml.Node{x}
	if x.Kind == yaml.SequenceNode { // an option that may be repeated
		values = x.Content
	}
	for _, v := range values {
		if v.Kind != yaml.ScalarNode {
			return at(v, "option %s has no plain value", name)
		}
		r.Options = append(r.Options, Option{name, v.Value, v.Line})
	}
	return nil
}

// list is a list of passes as pipeline text.
func list(n *yaml.Node, depth int) (string, error) {
	if n.Kind != yaml.SequenceNode || depth > maxDepth {
		return "", at(n, "this is no list of passes, or it nests too deep")
	}
	var steps []string
	for _, x := range n.Content {
		s, err := step(x, depth)
		if err != nil {
			return "", err
		}
		steps = append(steps, s)
	}
	return strings.Join(steps, ","), nil
}

// step is a pass by its name, in the notation of -p, or with its options as a mapping.
func step(n *yaml.Node, depth int) (string, error) {
	if n.Kind == yaml.ScalarNode {
		return n.Value, nil
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[0].Kind != yaml.ScalarNode {
		return "", at(n, "this is no pass: a name, or a name and its options")
	}
	name := n.Content[0].Value
	if v := n.Content[1]; v.Kind == yaml.ScalarNode && v.Tag == "!!null" {
		return name, nil
	}
	var options []string
	nested := ""
	err := pairs(n.Content[1], func(key string, v *yaml.Node) error {
		if key == "passes" {
			s, err := list(v, depth+1)
			nested = "(" + s + ")"
			return err
		}
		text, err := value(v)
		options = append(options, key+"="+text)
		return err
	})
	if len(options) > 0 {
		name += "{" + strings.Join(options, " ") + "}"
	}
	return name + nested, err
}

// value is that of an option of a pass.
func value(v *yaml.Node) (string, error) {
	switch v.Kind {
	case yaml.ScalarNode:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.Value) + `"`, nil
	case yaml.SequenceNode:
		var words []string
		for _, x := range v.Content {
			if x.Kind != yaml.ScalarNode {
				return "", at(x, "a list of options holds plain values")
			}
			words = append(words, x.Value)
		}
		return passes.List(words), nil
	}
	return "", at(v, "this is no value of an option")
}
