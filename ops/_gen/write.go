package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// list is a generated slice literal whose runs are shared: a run that is already there is not written again.
type list struct {
	items []string
	runs  map[string]int
}

func (l *list) add(run []string) (span string) {
	if len(run) == 0 {
		return "span{}"
	}
	key := strings.Join(run, "\n")
	at, ok := l.runs[key]
	if !ok {
		at = len(l.items)
		l.items = append(l.items, run...)
		if l.runs == nil {
			l.runs = map[string]int{}
		}
		for i := range run {
			for j := i + 1; j <= len(run); j++ {
				k := strings.Join(run[i:j], "\n")
				if _, ok := l.runs[k]; !ok {
					l.runs[k] = at + i
				}
			}
		}
	}
	return fmt.Sprintf("span{%d, %d}", at, len(run))
}

// one adds a single item and returns its index.
func (l *list) one(item string) int {
	l.add([]string{item})
	return l.runs[item]
}

type writer struct {
	traits                        map[string][]string
	used                          map[string]bool
	params, attrs, sets, defaults list
	schemas, ops                  []string
	lastOp                        [2]string
	first                         int
}

func newWriter(traits map[string][]string) *writer {
	w := &writer{traits: traits, used: map[string]bool{}}
	w.defaults.one("{}")
	return w
}

// schema adds one version. Versions of an operator come one after another, ascending.
func (w *writer) schema(s *schema) error {
	if op := [2]string{s.Name, s.Domain}; op != w.lastOp {
		w.flushOp()
		w.lastOp, w.first = op, len(w.schemas)
	}
	in, err := w.paramList(s, s.Inputs)
	if err != nil {
		return err
	}
	out, err := w.paramList(s, s.Outputs)
	if err != nil {
		return err
	}
	attrs, err := w.attrList(s)
	if err != nil {
		return err
	}
	var flags []string
	if s.Deprecated {
		flags = append(flags, "flagDeprecated")
	}
	if s.HasFunction || s.HasFunction2 {
		flags = append(flags, "flagFunction")
	}
	row := fmt.Sprintf("{op: %d, since: %d, minIn: %d, maxIn: %d, minOut: %d, maxOut: %d", len(w.ops), s.Since, s.MinIn, bound(s.MaxIn), s.MinOut, bound(s.MaxOut))
	for _, f := range [...]struct{ name, value, zero string }{
		{"in", in, "span{}"}, {"out", out, "span{}"}, {"attrs", attrs, "span{}"},
		{"flags", strings.Join(flags, " | "), ""}, {"traits", strings.Join(w.traitsOf(s), " | "), ""},
	} {
		if f.value != f.zero {
			row += ", " + f.name + ": " + f.value
		}
	}
	w.schemas = append(w.schemas, row+"}")
	return nil
}

func bound(n int) int {
	if n < 0 || n > 255 {
		return 255
	}
	return n
}

func (w *writer) flushOp() {
	if w.lastOp[0] != "" {
		w.ops = append(w.ops, fmt.Sprintf("{%q, %q, span{%d, %d}}", w.lastOp[0], w.lastOp[1], w.first, len(w.schemas)-w.first))
	}
}

// traitsOf leaves out what a version does not have: see the head of traits.tsv.
func (w *writer) traitsOf(s *schema) []string {
	key := s.Name
	if s.Domain != "" {
		key = s.Domain + ":" + s.Name
	}
	w.used[key] = true
	has := func(name string) bool {
		return slices.ContainsFunc(s.Attributes, func(a attribute) bool { return a.Name == name })
	}
	return slices.DeleteFunc(slices.Clone(w.traits[key]), func(t string) bool {
		switch t {
		case "Commutative", "Broadcast":
			return has("broadcast")
		case "Movement":
			return has("reduction")
		}
		return false
	})
}

func (w *writer) paramList(s *schema, ps []param) (string, error) {
	var run []string
	for _, p := range ps {
		set, err := w.typeSet(s, p.TypeStr)
		if err != nil {
			return "", err
		}
		item := fmt.Sprintf("{Name: %q, Var: %q, types: %d", p.Name, p.TypeStr, set)
		switch p.Option {
		case "optional":
			item += ", Option: Optional"
		case "variadic":
			item += ", Option: Variadic"
			if p.Homogeneous != nil && !*p.Homogeneous {
				item += ", Mixed: true"
			}
			if p.MinArity != 0 {
				item += fmt.Sprintf(", MinArity: %d", p.MinArity)
			}
		case "":
		default:
			return "", fmt.Errorf("option %q", p.Option)
		}
		run = append(run, item+"}")
	}
	return w.params.add(run), nil
}

func (w *writer) attrList(s *schema) (string, error) {
	as := slices.SortedFunc(slices.Values(s.Attributes), func(a, b attribute) int { return strings.Compare(a.Name, b.Name) })
	var run []string
	for _, a := range as {
		kind, ok := ir.ParseAttrKind(strings.ToLower(a.Type))
		if !ok {
			return "", fmt.Errorf("attribute type %q", a.Type)
		}
		item := fmt.Sprintf("{Name: %q, Kind: ir.%s", a.Name, kindNames[kind])
		if a.Required {
			item += ", Required: true"
		}
		if a.Default != nil {
			def, err := defaultLiteral(a)
			if err != nil {
				return "", err
			}
			item += fmt.Sprintf(", def: %d", w.defaults.one(def))
		}
		run = append(run, item+"}")
	}
	return w.attrs.add(run), nil
}

var kindNames = map[ir.AttrKind]string{ir.AttrFloat: "AttrFloat", ir.AttrInt: "AttrInt", ir.AttrString: "AttrString", ir.AttrTensor: "AttrTensor",
	ir.AttrGraph: "AttrGraph", ir.AttrFloats: "AttrFloats", ir.AttrInts: "AttrInts", ir.AttrStrings: "AttrStrings",
	ir.AttrSparseTensor: "AttrSparseTensor", ir.AttrType: "AttrType"}

func defaultLiteral(a attribute) (string, error) {
	switch v := a.Default.(type) {
	case json.Number:
		if a.Type == "INT" {
			return fmt.Sprintf("{i: %s}", v), nil
		}
		if f, err := v.Float64(); err == nil && f == 0 && strings.HasPrefix(v.String(), "-") {
			return "{negativeZero: true}", nil // a literal of Go cannot say it
		}
		return fmt.Sprintf("{f: %s}", v), nil
	case string:
		return fmt.Sprintf("{s: %q}", v), nil
	case []any:
		var e []string
		for _, x := range v {
			if n, ok := x.(json.Number); ok {
				e = append(e, n.String())
			} else {
				e = append(e, fmt.Sprintf("%q", x))
			}
		}
		if a.Type == "INTS" {
			return fmt.Sprintf("{ints: []int64{%s}}", strings.Join(e, ", ")), nil
		}
		return fmt.Sprintf("{strs: []string{%s}}", strings.Join(e, ", ")), nil
	}
	return "", fmt.Errorf("default %v of %s", a.Default, a.Name)
}

// typeSet is the index of the set of types that a type variable or a type names.
func (w *writer) typeSet(s *schema, typeStr string) (int, error) {
	types := []string{typeStr}
	if i := slices.IndexFunc(s.Constraints, func(c constraint) bool { return c.Param == typeStr }); i >= 0 {
		types = s.Constraints[i].Types
	}
	var masks [4]uint32
	other := 0
	for _, t := range types {
		if i := slices.Index(otherTypes, t); i >= 0 {
			other |= 1 << i
			continue
		}
		kind := slices.IndexFunc(wrappers[:], func(w [2]string) bool { return strings.HasPrefix(t, w[0]) })
		if kind < 0 {
			return 0, fmt.Errorf("type %q", t)
		}
		elem, ok := ir.ParseDType(strings.TrimSuffix(t[len(wrappers[kind][0]):], wrappers[kind][1]))
		if !ok {
			return 0, fmt.Errorf("type %q", t)
		}
		masks[kind] |= 1 << elem
	}
	return w.sets.one(fmt.Sprintf("{%#x, %#x, %#x, %#x, %#x}", masks[0], masks[1], masks[2], masks[3], other)), nil
}

var wrappers = [...][2]string{{"tensor(", ")"}, {"seq(tensor(", "))"}, {"optional(tensor(", "))"}, {"optional(seq(tensor(", ")))"}}

// otherTypes has the order of schema.otherTypes.
var otherTypes = []string{"map(int64, double)", "map(int64, float)", "map(int64, string)", "map(string, double)", "map(string, float)",
	"map(string, int64)", "seq(map(int64, float))", "seq(map(string, float))"}

func (w *writer) source(f *file) []byte {
	w.flushOp()
	w.lastOp = [2]string{}
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by ops/_gen from the schemas of onnx %s and onnxruntime %s. DO NOT EDIT.\n\npackage schema\n\nimport \"github.com/onnxopt/onnxopt/ir\"\n\n", f.ONNX, f.ORT)
	var domains []string
	for d, v := range f.Newest {
		domains = append(domains, fmt.Sprintf("{Domain: %q, Version: %d}", d, max(v, f.Opsets[d])))
	}
	slices.Sort(domains)
	for _, t := range []struct {
		name, elem string
		items      []string
	}{
		{"domainTable", "ir.Opset", domains},
		{"opTable", "opRow", w.ops},
		{"schemaTable", "Schema", w.schemas},
		{"paramTable", "Param", w.params.items},
		{"attrTable", "AttrSpec", w.attrs.items},
		{"defaultTable", "defaultValue", w.defaults.items},
		{"typeSets", "TypeSet", w.sets.items},
	} {
		fmt.Fprintf(&b, "var %s = [...]%s{\n", t.name, t.elem)
		for _, i := range t.items {
			fmt.Fprintf(&b, "\t%s,\n", i)
		}
		b.WriteString("}\n\n")
	}
	if bits.Len(uint(len(w.sets.items)-1)) > 8 || bits.Len(uint(len(w.defaults.items)-1)) > 8 {
		panic("an index does not fit its field")
	}
	return b.Bytes()
}
