package noop

import (
	"errors"
	"slices"

	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// windowRules remove pooling over single elements and resizing to the same size.
func windowRules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name:    "pool-one",
			Doc:     "removes pooling over windows of one element with steps of one",
			Promise: signOfZero,
			Match:   rewrite.MustParse(`y = {AveragePool, MaxPool} <...> (x)`),
			Where:   poolsNothing,
			Replace: toX,
		}, {
			Name:    "resize-same",
			Doc:     "removes resizing by nearest or linear interpolation to the same size",
			Promise: signOfZero,
			Match:   rewrite.MustParse(`y = Resize <...> (x, rest...)`),
			Where:   resizesNothing,
			Replace: toX,
		}, {
			Name:    "upsample-same",
			Doc:     "removes upsampling by one",
			Promise: signOfZero,
			Match:   rewrite.MustParse(`y = Upsample <...> (x, rest...)`),
			Where:   upsamplesNothing,
			Replace: toX,
		},
	}
}

func poolsNothing(m *rewrite.Match) error {
	n := m.Root()
	kernel := n.Ints("kernel_shape")
	other := func(least int64) func(int64) bool { return func(v int64) bool { return v != least } }
	if len(kernel) == 0 || slices.ContainsFunc(kernel, other(1)) || slices.ContainsFunc(n.Ints("strides"), other(1)) ||
		slices.ContainsFunc(n.Ints("pads"), other(0)) {
		return errors.New("its windows have several elements, or it steps or pads")
	}
	return nil
}

// resizesNothing accepts scales that are one, or sizes that are those of x. Then every coordinate is its own, whatever the
// transformation, but for two of them.
func resizesNothing(m *rewrite.Match) error {
	n := m.Root()
	if mode := ops.Str(n, "mode"); mode != "nearest" && mode != "linear" || ops.Int(n, "antialias") != 0 {
		return errMode
	}
	switch n.Str("coordinate_transformation_mode", "") {
	case "tf_crop_and_resize", "tf_half_pixel_for_nn":
		return errMode
	}
	scales, sizes := n.Operand(2), n.Operand(3)
	if m.Opset("") < 11 {
		scales = n.Operand(1)
	}
	switch {
	case sizes == nil && scales != nil:
		if filled(m, scales.Const(), 1) {
			return nil
		}
	case sizes != nil:
		return sameShape(m)
	}
	return errShape
}

func upsamplesNothing(m *rewrite.Match) error {
	n := m.Root()
	if a := n.Attr("scales"); a != nil {
		if slices.ContainsFunc(a.Floats(), func(f float32) bool { return f != 1 }) {
			return errShape
		}
		return nil
	}
	if !filled(m, n.Operand(1).Const(), 1) {
		return errShape
	}
	return nil
}
