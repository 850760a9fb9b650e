package infer

import "github.com/onnxopt/onnxopt/ir"

// table holds what is known by value. For a whole model it is a list by ir.Value.Index, which is walked in the order of the nodes; in a call
// of a function, of which there may be many, it is a map.
type table struct {
	list  []entry
	calls map[*ir.Value]*info
}

// entry names its value, so that one of another model is not taken for it.
type entry struct {
	v *ir.Value
	x *info
}

func newTable(values int) *table { return &table{list: make([]entry, values)} }

// get is what is known of v; ok is false if nothing was set. nil was set for a function's operand that a call omits.
func (t *table) get(v *ir.Value) (x *info, ok bool) {
	if t.list == nil {
		x, ok = t.calls[v]
		return x, ok
	}
	if i := v.Index(); i < len(t.list) && t.list[i].v == v {
		return t.list[i].x, true
	}
	return nil, false
}

func (t *table) set(v *ir.Value, x *info) {
	if t.list == nil {
		if t.calls == nil {
			t.calls = map[*ir.Value]*info{}
		}
		t.calls[v] = x
		return
	}
	for i := v.Index(); i >= len(t.list); {
		t.list = append(t.list, entry{})
		t.list = t.list[:cap(t.list)]
	}
	t.list[v.Index()] = entry{v, x}
}
