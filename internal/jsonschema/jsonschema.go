// Package jsonschema describes the JSON that a Go type marshals to, in JSON Schema, draft 2020-12 (https://json-schema.org).
package jsonschema

import (
	"encoding"
	"reflect"
	"strings"
)

// Of is the schema of the JSON of v's type. Fields without omitempty are required; further fields may be added in later versions.
func Of(title string, v any) map[string]any {
	g := &generator{defs: map[string]any{}, names: map[reflect.Type]string{}}
	s := g.of(reflect.TypeOf(v))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = title
	if len(g.defs) > 0 {
		s["$defs"] = g.defs
	}
	return s
}

type generator struct {
	defs  map[string]any
	names map[reflect.Type]string // of types that are being, or were, described
}

func (g *generator) of(t reflect.Type) map[string]any {
	type m = map[string]any
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return m{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := g.of(t.Elem())
		return m{"anyOf": []any{s, m{"type": "null"}}}
	case reflect.Bool:
		return m{"type": "boolean"}
	case reflect.String:
		return m{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return m{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return m{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return m{"type": "number"}
	case reflect.Slice, reflect.Array:
		return m{"type": []any{"array", "null"}, "items": g.of(t.Elem())}
	case reflect.Map:
		return m{"type": []any{"object", "null"}, "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		return g.object(t)
	}
	return m{} // an interface: anything
}

// object describes a struct: in place the first time, unless it has a name to refer to.
func (g *generator) object(t reflect.Type) map[string]any {
	if name, ok := g.names[t]; ok {
		return map[string]any{"$ref": "#/$defs/" + name}
	}
	top := len(g.names) == 0
	g.names[t] = t.Name()
	properties := map[string]any{}
	required := []any{}
	g.fields(t, properties, &required)
	s := map[string]any{"type": "object", "properties": properties, "required": required}
	if top || t.Name() == "" {
		return s
	}
	g.defs[t.Name()] = s
	return map[string]any{"$ref": "#/$defs/" + t.Name()}
}

// fields adds those of a struct, then those of the structs that it embeds, of which the outer ones hide names.
func (g *generator) fields(t reflect.Type, properties map[string]any, required *[]any) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			e := f.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct {
				embedded = append(embedded, e)
				continue
			}
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, hidden := properties[name]; hidden {
			continue
		}
		properties[name] = g.of(f.Type)
		if !strings.Contains(options, "omitempty") {
			*required = append(*required, name)
		}
	}
	for _, e := range embedded {
		g.fields(e, properties, required)
	}
}
