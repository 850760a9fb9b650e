package passes

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/internal/spell"
)

// Size is a number of bytes; its text takes the suffixes k, M and G (powers of 1024, optional B or iB).
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	t := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(string(b), "iB"), "B"), "b")
	shift := 0
	if t != "" {
		switch t[len(t)-1] {
		case 'k', 'K':
			shift = 10
		case 'm', 'M':
			shift = 20
		case 'g', 'G':
			shift = 30
		}
	}
	if shift > 0 {
		t = t[:len(t)-1]
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || f < 0 || f*float64(int64(1)<<shift) > 1<<62 || f != f {
		return fmt.Errorf("%q is no size (like 512k, 1M, 2G)", b)
	}
	*s = Size(f * float64(int64(1)<<shift))
	return nil
}

// MarshalText is the shortest text that reads back the same.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "G"}, {20, "M"}, {10, "k"}} {
		if s != 0 && s%(1<<u.shift) == 0 {
			return []byte(strconv.FormatInt(int64(s>>u.shift), 10) + u.name), nil
		}
	}
	return []byte(strconv.FormatInt(int64(s), 10)), nil
}

// File is an option that names a file. Passes never open it: the command does before the first pass, and Context.File hands
// over the contents.
type File string

// Data is an option that names a data set, opened like File.
type Data string

// OptionDoc describes an option.
type OptionDoc struct {
	Name, Type, Default, Doc string
	Enum                     []string
}

type option struct {
	doc      OptionDoc
	index    int
	free     bool
	required bool
}

type optionSet struct {
	pass     string
	typ      reflect.Type
	defaults reflect.Value
	read     sync.Once
	options  []option // see list
}

// common are the options that every pass takes.
var common = []OptionDoc{
	{Name: "only", Type: "list", Doc: "limits the pass to nodes that match a name, glob or operator type, through origins"},
	{Name: "except", Type: "list", Doc: "leaves nodes out that match"},
}

func newOptionSet(pass string, defaults any) *optionSet {
	s := &optionSet{pass: pass, typ: reflect.TypeOf(defaults), defaults: reflect.ValueOf(defaults)}
	if s.typ.Kind() != reflect.Struct {
		panic("passes: the options of " + pass + " are no struct")
	}
	return s
}

// list reads the fields of the struct when they are first needed: a process needs those of few passes.
func (s *optionSet) list() []option {
	s.read.Do(func() {
		if s.options == nil {
			s.options = s.fields()
		}
	})
	return s.options
}

func (s *optionSet) fields() (list []option) {
	for i := range s.typ.NumField() {
		f := s.typ.Field(i)
		name := f.Tag.Get("opt")
		if name == "" || !f.IsExported() {
			panic(fmt.Sprintf("passes: option field %s.%s needs a tag and must be exported", s.pass, f.Name))
		}
		o := option{index: i, free: name == "*", required: f.Tag.Get("required") == "true", doc: OptionDoc{Name: name, Doc: f.Tag.Get("doc"), Type: typeName(f.Type)}}
		if e := f.Tag.Get("enum"); e != "" {
			o.doc.Enum = strings.Split(e, "|")
		}
		if !o.free && !o.required {
			o.doc.Default = format(s.defaults.Field(i))
		}
		list = append(list, o)
	}
	return list
}

func (s *optionSet) withChoices(name string, values []string) *optionSet {
	list := slices.Clone(s.list())
	i := slices.IndexFunc(list, func(o option) bool { return o.doc.Name == name && !o.free })
	if i < 0 || !slices.Contains(values, list[i].doc.Default) {
		panic(fmt.Sprintf("passes: %s has no option %s with a default among %q", s.pass, name, values))
	}
	list[i].doc.Enum = slices.Clone(values)
	return &optionSet{pass: s.pass, typ: s.typ, defaults: s.defaults, options: list}
}

func (s *optionSet) docs() []OptionDoc {
	var r []OptionDoc
	for _, o := range s.list() {
		r = append(r, o.doc)
	}
	return append(r, common...)
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[File]():
		return "file"
	case reflect.TypeFor[Data]():
		return "data"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int64:
		return "int"
	case reflect.Float64:
		return "float"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "map"
	}
	return "string"
}

func format(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			return string(b)
		}
	}
	if v.Kind() == reflect.Slice {
		p := make([]string, v.Len())
		for i := range p {
			p[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return strings.Join(p, ",")
	}
	return fmt.Sprint(v.Interface())
}

// decode sets the given keys over the defaults. The common options are left to the caller.
func (s *optionSet) decode(given []KeyValue) (any, error) {
	v := reflect.New(s.typ).Elem()
	v.Set(s.defaults)
	seen, list := map[string]bool{}, s.list()
	for _, kv := range given {
		if seen[kv.Key] {
			return nil, fmt.Errorf("option %q of %s is given twice", kv.Key, s.pass)
		}
		seen[kv.Key] = true
		if slices.ContainsFunc(common, func(d OptionDoc) bool { return d.Name == kv.Key }) {
			continue
		}
		i := slices.IndexFunc(list, func(o option) bool { return o.doc.Name == kv.Key && !o.free })
		if i < 0 {
			i = slices.IndexFunc(list, func(o option) bool { return o.free })
		}
		if i < 0 {
			var names []string
			for _, d := range s.docs() {
				names = append(names, d.Name)
			}
			return nil, fmt.Errorf("%s has no option %q%s", s.pass, kv.Key, orList(spell.Hint(kv.Key, names), names))
		}
		if err := set(v.Field(list[i].index), list[i], kv); err != nil {
			return nil, fmt.Errorf("option %s of %s: %w", kv.Key, s.pass, err)
		}
	}
	for _, o := range list {
		if o.required && !seen[o.doc.Name] {
			return nil, fmt.Errorf("%s needs option %s: %s", s.pass, o.doc.Name, o.doc.Doc)
		}
	}
	return v.Interface(), nil
}

// orList is the hint, or the list of what there is.
func orList(hint string, names []string) string {
	if hint != "" {
		return hint
	}
	return "; it has " + strings.Join(names, ", ")
}

func set(f reflect.Value, o option, kv KeyValue) error {
	s := kv.Value
	if o.doc.Enum != nil && !slices.Contains(o.doc.Enum, s) {
		return fmt.Errorf("%q is none of %s%s", s, strings.Join(o.doc.Enum, ", "), spell.Hint(s, o.doc.Enum))
	}
	if o.free {
		m := map[string]string{}
		for it := f.MapRange(); it.Next(); {
			m[it.Key().String()] = it.Value().String()
		}
		m[kv.Key] = s
		f.Set(reflect.ValueOf(m))
		return nil
	}
	if u, ok := f.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch f.Kind() {
	case reflect.Bool:
		switch s {
		case "true", "":
			f.SetBool(true)
		case "false":
			f.SetBool(false)
		default:
			return fmt.Errorf("%q is neither true nor false", s)
		}
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", s)
		}
		f.SetInt(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || x != x {
			return fmt.Errorf("%q is no number", s)
		}
		f.SetFloat(x)
	case reflect.String:
		f.SetString(s)
	case reflect.Slice:
		r := reflect.MakeSlice(f.Type(), 0, 0)
		for _, p := range splitList(s) {
			e := reflect.New(f.Type().Elem()).Elem()
			if err := set(e, option{}, KeyValue{Value: p}); err != nil {
				return err
			}
			r = reflect.Append(r, e)
		}
		f.Set(r)
	default:
		return fmt.Errorf("an option cannot have type %s", f.Type())
	}
	return nil
}

// splitList splits a list at its commas: [a,b], or a,b. An element in quotes may hold any character.
func splitList(s string) []string {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	if s == "" {
		return nil
	}
	var p []string
	for t := (&scanner{text: s}); ; {
		p = append(p, t.element())
		if !t.take(',') {
			return p
		}
	}
}

// element reads an element of a list: a quoted string, or everything up to the comma.
func (s *scanner) element() string {
	s.space()
	quoted := ""
	if s.pos < len(s.text) && s.text[s.pos] == '"' {
		quoted, _ = s.quoted() // value has seen that it is closed
	}
	b := s.pos
	for s.pos < len(s.text) && s.text[s.pos] != ',' {
		s.pos++
	}
	return quoted + strings.TrimSpace(s.text[b:s.pos])
}

// files lists the values of File and Data options.
func (s *optionSet) files(options any) (files []File, data []Data) {
	v := reflect.ValueOf(options)
	for _, o := range s.list() {
		switch f := v.Field(o.index).Interface().(type) {
		case File:
			if f != "" {
				files = append(files, f)
			}
		case Data:
			if f != "" {
				data = append(data, f)
			}
		}
	}
	return files, data
}
