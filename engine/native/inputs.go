package native

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// checkInputs compares what a run is given with the model's interface: names, presence, types, static sizes, and one size
// for each symbol. It reports the first fault in the order of the interface.
func (s *session) checkInputs(in map[string]ir.Datum) error {
	symbols := map[string]bySymbol{}
	for _, slot := range s.inputs {
		d, ok := in[slot.Name()]
		if !ok || isNil(d) {
			if slot.Value().Default() != nil && !ok {
				continue
			}
			return fmt.Errorf("input %q is missing", slot.Name())
		}
		if err := checkType(slot.Type(), d, slot.Name(), symbols); err != nil {
			return fmt.Errorf("input %q: %w", slot.Name(), err)
		}
	}
	var unknown []string
	for name := range in {
		if !s.known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("the model has no input %q", unknown[0])
	}
	return nil
}

// bySymbol is the size a symbol has in this run, and the input that said so.
type bySymbol struct {
	size  int64
	input string
}

// checkType reports how d disagrees with the declared type t. Symbols are bound in symbols; nil leaves them free, as for the
// items of a sequence, whose shapes may differ.
func checkType(t *ir.Type, d ir.Datum, input string, symbols map[string]bySymbol) error {
	if t == nil || t.Kind == ir.KindNone {
		return checkData(d)
	}
	switch d := d.(type) {
	case *ir.Tensor:
		if t.Kind == ir.KindTensor {
			return checkTensor(t, d, input, symbols)
		}
	case *ir.Sequence:
		if t.Kind == ir.KindSequence {
			return checkItems(t.Of, d.Items)
		}
	case *ir.Optional:
		if t.Kind == ir.KindOptional && isNil(d.Item) {
			return nil
		} else if t.Kind == ir.KindOptional {
			return checkType(t.Of, d.Item, input, nil)
		}
	case *ir.Map:
		if t.Kind == ir.KindMap && d.Keys != nil {
			return checkMap(t, d)
		}
	}
	return fmt.Errorf("a %s is given where the model takes %s", describe(d), t)
}

func checkItems(t *ir.Type, items []ir.Datum) error {
	for i, x := range items {
		if isNil(x) {
			return fmt.Errorf("item %d is missing", i)
		}
		if err := checkType(t, x, "", nil); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func checkMap(t *ir.Type, d *ir.Map) error {
	if d.Keys.DType() != t.Elem {
		return fmt.Errorf("keys are %s where the model takes %s", d.Keys.DType(), t.Elem)
	}
	if d.Keys.Len() != int64(len(d.Values)) {
		return fmt.Errorf("a map of %d keys and %d values", d.Keys.Len(), len(d.Values))
	}
	return checkItems(t.Of, d.Values)
}

func checkTensor(t *ir.Type, d *ir.Tensor, input string, symbols map[string]bySymbol) error {
	if t.Elem != ir.Undefined && t.Elem != d.DType() {
		return fmt.Errorf("elements are %s where the model takes %s", d.DType(), t.Elem)
	}
	if t.Shape != nil {
		if len(t.Shape) != d.Rank() {
			return fmt.Errorf("shape %v where the model takes %s", d.Shape(), t.Shape)
		}
		for i, dim := range t.Shape {
			size := d.Shape()[i]
			if dim.IsStatic() && dim.Size != size {
				return fmt.Errorf("shape %v where the model takes %s", d.Shape(), t.Shape)
			}
			if dim.Param == "" || dim.Param == "?" || symbols == nil { // exporters write "?" for several unknown sizes
				continue
			}
			if b, ok := symbols[dim.Param]; ok && b.size != size {
				return fmt.Errorf("dimension %s is %d here and %d in input %q", dim.Param, size, b.size, b.input)
			}
			symbols[dim.Param] = bySymbol{size, input}
		}
	}
	return checkData(d)
}

// checkData reports a tensor whose elements do not fill its shape.
func checkData(d ir.Datum) error {
	t, ok := d.(*ir.Tensor)
	if !ok {
		return nil
	}
	if t.DType() == ir.String {
		_, err := t.Strings()
		return err
	}
	_, err := t.Bytes()
	return err
}

// isNil reports a missing value, typed nil pointers included.
func isNil(d ir.Datum) bool {
	switch d := d.(type) {
	case nil:
		return true
	case *ir.Tensor:
		return d == nil
	case *ir.Sequence:
		return d == nil
	case *ir.Optional:
		return d == nil
	case *ir.Map:
		return d == nil
	}
	return false
}

// describe names the kind of a datum without touching parts that may be missing.
func describe(d ir.Datum) string {
	switch d.(type) {
	case *ir.Tensor:
		return "tensor"
	case *ir.Sequence:
		return "sequence"
	case *ir.Optional:
		return "optional"
	case *ir.Map:
		return "map"
	}
	return fmt.Sprintf("%T", d)
}
