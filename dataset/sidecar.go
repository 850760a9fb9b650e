package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onnxopt/onnxopt/dataset/picture"
)

// sidecarFile is the name of the settings beside the data.
const sidecarFile = "preprocess.yaml"

// sidecar is what a set's folder says of it, besides settings of pictures.
type sidecar struct {
	settings []Setting
	classes  []string
	labels   string
}

// settings reads the sidecar file of the set and then the options, which win.
func (s *Set) settings(folder bool) error {
	dir := s.path
	if !folder {
		dir = filepath.Dir(s.path)
	}
	side, err := readSidecar(filepath.Join(dir, sidecarFile))
	if err != nil {
		return err
	}
	settings := s.o.Image
	if len(settings) == 0 || settings[0].Key != "preset" { // a preset replaces the sidecar's settings
		settings = append(side.settings, settings...)
	}
	for _, k := range settings {
		if err := s.spec.Set(k.Key, k.Value); err != nil {
			return err
		}
		s.hasSpec = true
	}
	if s.o.Labels == "" && side.labels != "" {
		if !filepath.IsLocal(filepath.FromSlash(side.labels)) {
			return fmt.Errorf("labels: the path %q leads out of the folder of %s", side.labels, sidecarFile)
		}
		s.o.Labels = filepath.Join(dir, filepath.FromSlash(side.labels))
	}
	s.classes = side.classes
	return nil
}

// maxSidecar bounds the settings file.
const maxSidecar = 1 << 20

func readSidecar(path string) (*sidecar, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &sidecar{}, nil
	}
	if err == nil && st.Size() > maxSidecar {
		err = errors.New("too large")
	}
	if err != nil {
		return nil, &BadSampleError{path, err}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseSidecar(b)
	if err != nil {
		return nil, &BadSampleError{path, err}
	}
	return r, nil
}

// parseSidecar reads settings: keys of picture.Spec, classes (a list of names) and labels (a file).
func parseSidecar(b []byte) (*sidecar, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	r := &sidecar{}
	if len(doc.Content) == 0 {
		return r, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, errors.New("settings are lines of the form key: value")
	}
	var spec picture.Spec
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, node := top.Content[i].Value, top.Content[i+1]
		value, list, err := scalars(node)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", node.Line, key, err)
		}
		switch key {
		case "classes":
			r.classes = list
			continue
		case "labels":
			r.labels = value
			continue
		}
		if err := spec.Set(key, value); err != nil {
			return nil, fmt.Errorf("line %d: %w", node.Line, err)
		}
		k := Setting{key, value}
		if key == "preset" {
			r.settings = append([]Setting{k}, r.settings...)
		} else {
			r.settings = append(r.settings, k)
		}
	}
	return r, nil
}

// scalars is the text of a value, and that of each item if it is a list.
func scalars(n *yaml.Node) (string, []string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, []string{n.Value}, nil
	case yaml.SequenceNode:
		var list []string
		for _, x := range n.Content {
			if x.Kind != yaml.ScalarNode {
				return "", nil, errors.New("a list of plain values is wanted")
			}
			list = append(list, x.Value)
		}
		return strings.Join(list, ","), list, nil
	}
	return "", nil, errors.New("a value or a list is wanted")
}
