// Package containers is the pass that takes elements out of sequences and optionals where they were put in.
package containers

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces what is taken from a sequence or optional by what was put into it.
var Pass = rewrite.Define(passes.Info{
	Name: "containers",
	Doc:  "replaces what is taken from a sequence or optional by what was put in",
}, at, length, joined, element, hasElement)

// torch.onnx writes torch.stack, torch.cat and lists of tensors with sequences.
var at = &rewrite.Rule{
	Name: "sequence-at",
	Doc:  "replaces an element of a SequenceConstruct by the operand that it is",
	Match: rewrite.MustParse(`
		s: shared = SequenceConstruct (xs...)
		z = SequenceAt (s, i: const)`),
	Where: func(m *rewrite.Match) error {
		i, ok, err := rewrite.Scalar(m.Const("i"))
		m.Fail(err)
		n := len(m.Values("xs"))
		if !ok || i < float64(-n) || i >= float64(n) {
			return fmt.Errorf("there is no element %v of %d", i, n)
		}
		m.Keep = (int(i) + n) % n
		return nil
	},
	Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{m.Values("xs")[m.Keep.(int)]}
	},
}

var length = &rewrite.Rule{
	Name: "sequence-length",
	Doc:  "makes the length of a SequenceConstruct a constant",
	Match: rewrite.MustParse(`
		s: shared = SequenceConstruct (xs...)
		z = SequenceLength (s)`),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Const("", ir.ScalarOf(int64(len(m.Values("xs")))))}
	},
}

var joined = &rewrite.Rule{
	Name: "sequence-concat",
	Doc:  "makes a ConcatFromSequence of a SequenceConstruct a Concat",
	Match: rewrite.MustParse(`
		s = SequenceConstruct (xs...)
		z = ConcatFromSequence <axis = @axis, new_axis = 0> (s)`),
	Where: func(m *rewrite.Match) error {
		for _, x := range m.Values("xs") {
			if t := m.TypeOf(x); t == nil || t.Kind != ir.KindTensor {
				return errors.New("an element is not surely a tensor")
			}
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Concat", m.Values("xs"), ir.IntAttr("axis", m.Attr("axis").Int()))}
	},
}

var element = &rewrite.Rule{
	Name: "optional-element",
	Doc:  "replaces the element of an Optional, or of what is no optional, by what it is",
	Match: rewrite.MustParse(`
		o: shared = Optional <...> (x)
		z = OptionalGetElement (o)`, `
		z = OptionalGetElement (x)`),
	Where: surelyThere,
	Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{m.Value("x")}
	},
}

var hasElement = &rewrite.Rule{
	Name: "optional-has-element",
	Doc:  "answers whether an optional has an element where that is known",
	Match: rewrite.MustParse(`
		o: shared = Optional <...> (x)
		z = OptionalHasElement (o)`, `
		z = OptionalHasElement (x)`),
	Where: surelyThere,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Const("", ir.NewTensor(ir.Bool, []int64{}, []byte{1}))}
	},
}

// surelyThere refuses an x that may be an optional itself.
func surelyThere(m *rewrite.Match) error {
	if x := m.Value("x"); x == nil || m.TypeOf(x) == nil || m.TypeOf(x).Kind != ir.KindTensor && m.TypeOf(x).Kind != ir.KindSequence {
		return errors.New("it may be an optional without an element")
	}
	return nil
}
