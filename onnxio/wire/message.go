package wire

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Message lays out a message by its source. Fields are declared in any order; then Rope walks the source: a field that was not
// declared stays as it is, unknown ones included, a declared one is replaced, and what has no place in the source goes where
// ascending field numbers put it. Unchanged values keep the source's encoding.
type Message struct {
	src    []byte
	fields []declared
}

// declared is one field as it should be.
type declared struct {
	num    Num
	items  []Rope   // whole fields; for a scalar at most one
	strs   []string // instead of items
	scalar bool
	typ    protowire.Type
	same   func(f *Field) bool // scalars: whether an occurrence in the source states this value
	absent bool                // scalars: the default; nothing is written unless the source does

	count, seen int // occurrences in the source
	keep        bool
	put         int
}

// NewMessage starts a message whose source is src, nil if it has none. src must have been walked without error before.
func NewMessage(src []byte) *Message { return &Message{src: src, fields: make([]declared, 0, 8)} }

// Str declares a singular string field.
func (m *Message) Str(num Num, s string) {
	d := declared{num: num, scalar: true, typ: protowire.BytesType, absent: s == "", same: func(f *Field) bool { return string(f.Body) == s }}
	if s != "" {
		d.items = []Rope{Str(num, s)}
	}
	m.fields = append(m.fields, d)
}

// Int declares a singular integer field.
func (m *Message) Int(num Num, v int64) {
	d := declared{num: num, scalar: true, typ: protowire.VarintType, absent: v == 0, same: func(f *Field) bool { return f.Int() == v }}
	if v != 0 {
		d.items = []Rope{Varint(num, v)}
	}
	m.fields = append(m.fields, d)
}

// Set declares a field that holds messages, strings or bytes, repeated or not, as a list of whole fields. The k-th takes the
// place of the k-th in the source; further ones follow the last.
func (m *Message) Set(num Num, items ...Rope) {
	m.fields = append(m.fields, declared{num: num, items: items, typ: protowire.BytesType})
}

// Put declares a field, whatever its type, as the bytes of all its occurrences. An empty rope takes the field away.
func (m *Message) Put(num Num, r Rope) {
	m.fields = append(m.fields, declared{num: num, items: []Rope{r}, typ: anyType})
}

// anyType matches every wire type.
const anyType protowire.Type = -1

// Strs declares a repeated string field like Set.
func (m *Message) Strs(num Num, s []string) {
	m.fields = append(m.fields, declared{num: num, strs: s, typ: protowire.BytesType})
}

// SetInts declares a repeated integer field of a message without a source, written unpacked as ONNX declares them.
func (m *Message) SetInts(num Num, vs []int64) {
	items := make([]Rope, len(vs))
	for i, v := range vs {
		items[i] = Varint(num, v)
	}
	m.fields = append(m.fields, declared{num: num, items: items, typ: protowire.VarintType})
}

func (m *Message) field(f *Field) *declared {
	for i := range m.fields {
		if d := &m.fields[i]; d.num == f.Num && (d.typ == f.Type || d.typ == anyType) {
			return d
		}
	}
	return nil
}

// Rope lays the message out.
func (m *Message) Rope() (r Rope) {
	for f := range Fields(m.src) {
		if d := m.field(&f); d != nil {
			d.count++
			if d.scalar { // the last occurrence counts
				d.keep = d.same(&f)
			}
		}
	}
	missing := m.missing()
	for f := range Fields(m.src) {
		for len(missing) > 0 && missing[0].num < f.Num {
			missing[0].flush(&r)
			missing = missing[1:]
		}
		d := m.field(&f)
		switch {
		case d == nil:
			r.Append(f.Raw)
		case d.scalar && d.keep:
			r.Append(f.Raw)
		case d.scalar:
			if d.seen++; d.seen == d.count {
				d.flush(&r)
			}
		default:
			switch {
			case d.put < len(d.strs) && string(f.Body) == d.strs[d.put]:
				r.Append(f.Raw)
				d.put++
			case d.put < len(d.items)+len(d.strs):
				d.one(&r)
			}
			if d.seen++; d.seen == d.count {
				d.flush(&r)
			}
		}
	}
	for _, d := range missing {
		d.flush(&r)
	}
	return r
}

// missing lists the declared fields that the source does not have, by ascending number.
func (m *Message) missing() []*declared {
	var ds []*declared
	for i := range m.fields {
		if m.fields[i].count == 0 {
			ds = append(ds, &m.fields[i])
		}
	}
	slices.SortFunc(ds, func(a, b *declared) int { return int(a.num) - int(b.num) })
	return ds
}

func (d *declared) flush(r *Rope) {
	for d.put < len(d.items)+len(d.strs) {
		d.one(r)
	}
}

// one puts the next field.
func (d *declared) one(r *Rope) {
	if d.strs != nil {
		r.AppendRope(Str(d.num, d.strs[d.put]))
	} else {
		r.AppendRope(d.items[d.put])
	}
	d.put++
}

// Rename is message b with the strings at the path of fields replaced by what f makes of them.
func Rename(b []byte, f func(string) string, path ...Num) (r Rope) {
	for x := range Fields(b) {
		switch {
		case x.Num != path[0] || !x.IsBytes():
			r.Append(x.Raw)
		case len(path) > 1:
			r.AppendRope(Sub(x.Num, Rename(x.Body, f, path[1:]...), x))
		default:
			if s := f(string(x.Body)); s == string(x.Body) {
				r.Append(x.Raw)
			} else {
				r.AppendRope(Str(x.Num, s))
			}
		}
	}
	return r
}
