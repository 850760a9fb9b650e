package spelled

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// shapes says why what the cosines are made of is not of [batch,length,...], as Angles takes it.
func (t *Turn) shapes(m *rewrite.Match) error {
	for _, name := range []string{"cg", "f"} {
		if !m.Has(name) {
			continue
		}
		d, ok := m.Dims(name)
		c, _ := m.Dims("cos")
		if !ok || len(d) != 3 || len(c) != 4 {
			return fmt.Errorf("%s is a %s and the cosines a %s, not of [batch,length,...] and heads", name, m.Type(name), m.Type("cos"))
		}
	}
	return nil
}

// Columns are the elements of the last axis of v that hold every angle once.
func (t *Turn) Columns(b *rewrite.Builder, v *ir.Value) *ir.Value {
	switch {
	case t.Once:
		return v
	case t.Interleaved:
		return b.Op("Slice", []*ir.Value{v, b.Ints("", 0), b.Ints("", t.Size), b.Ints("", -1), b.Ints("", 2)})
	}
	return b.Op("Slice", []*ir.Value{v, b.Ints("", 0), b.Ints("", t.Size/2), b.Ints("", -1)})
}

// Angles makes the cosines and sines, of [batch,length,size/2].
func (t *Turn) Angles(b *rewrite.Builder, m *rewrite.Match) (cos, sin *ir.Value) {
	switch {
	case m.Has("cg"):
		row := func(table string) *ir.Value {
			return b.Op("Gather", []*ir.Value{t.Columns(b, m.Value(table)), m.Value("ids")})
		}
		return row("cc"), row("sc")
	case m.Has("f"):
		cos, sin = b.Op("Cos", []*ir.Value{m.Value("f")}), b.Op("Sin", []*ir.Value{m.Value("f")})
		if m.Has("cm") {
			cos, sin = b.Op("Mul", []*ir.Value{cos, m.Value("cscale")}), b.Op("Mul", []*ir.Value{sin, m.Value("sscale")})
		}
		return cos, sin
	}
	row := func(name string) *ir.Value {
		v := t.Columns(b, m.Value(name))
		d, _ := m.Dims(name)
		heads := len(d) - 3
		if t.Heads > 0 {
			heads++
		}
		if heads > 0 {
			v = b.Op("Squeeze", []*ir.Value{v, b.Ints("", int64(heads))})
		}
		if len(d) == 2 || heads > 0 && len(d) == 3 {
			v = b.Op("Unsqueeze", []*ir.Value{v, b.Ints("", 0)})
		}
		return v
	}
	return row("cos"), row("sin")
}

// Merge is x as [batch,length,heads*size] where heads stand behind the length, and x itself otherwise.
func (t *Turn) Merge(b *rewrite.Builder, x *ir.Value) *ir.Value {
	if t.Heads == 0 {
		return x
	}
	return b.Op("Reshape", []*ir.Value{x, b.Ints("", 0, 0, t.Heads*t.Size)})
}

// Apart undoes Merge.
func (t *Turn) Apart(b *rewrite.Builder, z *ir.Value) *ir.Value {
	if t.Heads == 0 {
		return z
	}
	return b.Op("Reshape", []*ir.Value{z, b.Ints("", 0, 0, t.Heads, t.Size)})
}

// Attrs are the attributes of the rotation.
func (t *Turn) Attrs() []*ir.Attr {
	if t.Interleaved {
		return []*ir.Attr{ir.IntAttr("interleaved", 1)}
	}
	return nil
}
