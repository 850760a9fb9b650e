package passtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/rogpeppe/go-internal/txtar"
)

// fixture is a txtar file of cases.
type fixture struct {
	comment []byte
	cases   []*testCase
}

// testCase is one model and what is expected of it.
type testCase struct {
	name       string
	in         string // with its directives
	fires      []string
	misses     []string
	pipeline   string
	opset      int64
	unverified string
	fails      string
	engines    []engine.Engine
	data       func(*ir.Model) map[passes.Data]any

	out, check, remarks          string
	hasOut, hasCheck, hasRemarks bool
}

func parseFixture(data []byte) (*fixture, error) {
	a := txtar.Parse(data)
	f := &fixture{comment: a.Comment}
	for _, file := range a.Files {
		name, section, _ := strings.Cut(file.Name, "/")
		i := slices.IndexFunc(f.cases, func(k *testCase) bool { return k.name == name })
		if section == "in" && i < 0 {
			k := &testCase{name: name, in: string(file.Data), opset: 17}
			if err := k.directives(); err != nil {
				return nil, fmt.Errorf("%s: %w", file.Name, err)
			}
			f.cases = append(f.cases, k)
			continue
		}
		if i < 0 || !f.cases[i].section(section, string(file.Data)) {
			return nil, fmt.Errorf("section %s: cases begin with NAME/in, and have out or check, and remarks", file.Name)
		}
	}
	return f, nil
}

func (k *testCase) section(name, data string) bool {
	switch {
	case name == "out" && !k.hasOut && !k.hasCheck:
		k.out, k.hasOut = data, true
	case name == "check" && !k.hasOut && !k.hasCheck:
		k.check, k.hasCheck = data, true
	case name == "remarks" && !k.hasRemarks:
		k.remarks, k.hasRemarks = data, true
	default:
		return false
	}
	return true
}

// directives reads the comment lines at the beginning.
func (k *testCase) directives() error {
	for line := range strings.Lines(k.in) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			return nil
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok {
			continue
		}
		switch strings.TrimSpace(key) {
		case "fires":
			k.fires = names(value)
		case "misses":
			k.misses = names(value)
		case "pipeline":
			k.pipeline = value
		case "fails":
			k.fails = value
		case "unverified":
			k.unverified = value
		case "opset":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 {
				return fmt.Errorf("opset %q is no version", value)
			}
			k.opset = n
		}
	}
	return nil
}

func names(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// format is the fixture as a txtar file.
func (f *fixture) format() []byte {
	a := &txtar.Archive{Comment: f.comment}
	add := func(name, data string) {
		if !strings.HasSuffix(data, "\n\n") {
			data = strings.TrimRight(data, "\n") + "\n"
		}
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(data)})
	}
	for _, k := range f.cases {
		add(k.name+"/in", k.in)
		if k.hasOut {
			add(k.name+"/out", k.out)
		}
		if k.hasCheck {
			add(k.name+"/check", k.check)
		}
		if k.hasRemarks {
			add(k.name+"/remarks", k.remarks)
		}
	}
	return txtar.Format(a)
}
