// Command _gen writes the operator table of ops/schema from op-schemas.json, contrib-schemas.json and traits.tsv.
//
//	go run ./ops/_gen -o ops/schema/table_gen.go
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"slices"
	"strings"
)

//go:embed op-schemas.json
var schemasJSON []byte

// contribJSON holds operators of ONNX Runtime: ort_schemas.py writes it.
//
//go:embed contrib-schemas.json
var contribJSON []byte

//go:embed traits.tsv
var traitsTSV string

// file is one of the files of schemas as far as it is read.
type file struct {
	ONNX    string           `json:"onnx_version"`
	ORT     string           `json:"onnxruntime_version"`
	Newest  map[string]int64 `json:"max_since_version"`
	Opsets  map[string]int64 `json:"opsets"`
	Schemas []schema         `json:"ops"`
}

type schema struct {
	Domain       string       `json:"domain"`
	Name         string       `json:"name"`
	Since        int          `json:"since_version"`
	MinIn        int          `json:"min_input"`
	MaxIn        int          `json:"max_input"`
	MinOut       int          `json:"min_output"`
	MaxOut       int          `json:"max_output"`
	Inputs       []param      `json:"inputs"`
	Outputs      []param      `json:"outputs"`
	Attributes   []attribute  `json:"attributes"`
	Constraints  []constraint `json:"type_constraints"`
	HasFunction  bool         `json:"has_function"`
	HasFunction2 bool         `json:"has_context_dependent_function"`
	Deprecated   bool         `json:"deprecated"`
}

type param struct {
	Name        string `json:"name"`
	TypeStr     string `json:"type_str"`
	Option      string `json:"option"`
	MinArity    int    `json:"min_arity"`
	Homogeneous *bool  `json:"homogeneous"`
}

type attribute struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Required bool   `json:"required"`
	Default  any    `json:"default"`
}

type constraint struct {
	Param string   `json:"param"`
	Types []string `json:"types"`
}

func main() {
	log.SetFlags(0)
	out := flag.String("o", "", "file to write; standard output if empty")
	flag.Parse()
	src, err := generate()
	if err != nil {
		log.Fatal(err)
	}
	if *out == "" {
		os.Stdout.Write(src)
		return
	}
	if err := os.WriteFile(*out, src, 0o644); err != nil {
		log.Fatal(err)
	}
}

// generate returns the formatted source of the table.
func generate() ([]byte, error) {
	var f, contrib file
	for _, src := range []struct {
		json []byte
		to   *file
	}{{schemasJSON, &f}, {contribJSON, &contrib}} {
		d := json.NewDecoder(bytes.NewReader(src.json))
		d.UseNumber()
		if err := d.Decode(src.to); err != nil {
			return nil, err
		}
	}
	f.ORT = contrib.ORT
	f.Schemas = append(f.Schemas, contrib.Schemas...)
	for i := range contrib.Schemas {
		s := &contrib.Schemas[i]
		f.Newest[s.Domain] = max(f.Newest[s.Domain], int64(s.Since))
	}
	slices.SortFunc(f.Schemas, func(a, b schema) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		if c := strings.Compare(a.Domain, b.Domain); c != 0 {
			return c
		}
		return a.Since - b.Since
	})
	traits, err := parseTraits(traitsTSV)
	if err != nil {
		return nil, err
	}
	w := newWriter(traits)
	for i := range f.Schemas {
		if err := w.schema(&f.Schemas[i]); err != nil {
			return nil, fmt.Errorf("%s %d: %w", f.Schemas[i].Name, f.Schemas[i].Since, err)
		}
	}
	for op := range traits {
		if !w.used[op] {
			return nil, fmt.Errorf("traits.tsv names the unknown operator %s", op)
		}
	}
	return format.Source(w.source(&f))
}

// parseTraits reads traits.tsv: the Go expression of each operator's traits by "Name" or "domain:Name".
func parseTraits(s string) (map[string][]string, error) {
	known := map[string]string{"unary": "Unary", "broadcast": "Broadcast", "commutative": "Commutative", "idempotent": "Idempotent",
		"involution": "Involution", "movement": "Movement", "shapeonly": "ShapeOnly", "random": "Random", "reduction": "Reduction",
		"quantization": "Quantization", "control": "Control"}
	r := map[string][]string{}
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		op, list, ok := strings.Cut(line, "\t")
		if !ok || r[op] != nil {
			return nil, fmt.Errorf("traits.tsv: bad or repeated line %q", line)
		}
		for _, t := range strings.Fields(list) {
			if known[t] == "" {
				return nil, fmt.Errorf("traits.tsv: unknown trait %q of %s", t, op)
			}
			r[op] = append(r[op], known[t])
		}
	}
	return r, nil
}
