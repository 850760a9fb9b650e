package tflite

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

func lowerPad(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	rank := len(w.perm)
	list := n.Ints("pads")
	fill := n.Float("value", 0)
	var whole *tensor // the value as an integer
	if n.Graph().Opset("") >= 11 {
		l, err := e.intsOf(n.Operand(1))
		if err != nil {
			return err
		}
		list = l
		if v := n.Operand(2); v != nil && w.t.typ == typeFloat32 {
			f, ok := e.number(v)
			if !ok {
				return errors.New("a value that is no float constant")
			}
			fill = float32(f)
		} else if v != nil && e.region == nil {
			c := e.constant(v)
			if c == nil || c.Len() != 1 {
				return errors.New("a value that is no constant")
			}
			whole = e.fromTensor(v.Name(), c.Reshape([]int64{}))
		}
	}
	axes := identity(rank)
	if v := n.Operand(3); v != nil {
		l, err := e.intsOf(v)
		if err != nil {
			return err
		}
		axes = axes[:0]
		for _, a := range l {
			axes = append(axes, int(a+int64(rank))%rank)
		}
	}
	place := inverse(w.perm)
	data := make([]int32, 2*rank)
	for i, a := range axes {
		before, after := list[i], list[i+len(axes)]
		if before < 0 || after < 0 {
			return errors.New("pads below zero")
		}
		data[2*place[a]], data[2*place[a]+1] = int32(before), int32(after)
	}
	pads := e.literal("pads", typeInt32, []int{rank, 2}, ir.AsBytes(data))
	switch mode := n.Str("mode", "constant"); {
	case mode == "reflect":
		e.result(n, opMirrorPad, w.perm, mirrorPadOptions(false), w.t, pads)
	case mode != "constant":
		return fmt.Errorf("mode %s", mode)
	case w.t.typ == typeBool:
		return errors.New("elements of type bool")
	case fill != 0 && e.region != nil:
		return errors.New("a value other than zero")
	case e.region == nil && (whole != nil || w.t.quant != nil): // PAD takes the zero point of what is quantized
		if whole == nil {
			whole = e.literal("const", w.t.typ, []int{}, make([]byte, 1))
		}
		e.result(n, opPadV2, w.perm, options{}, w.t, pads, e.onScale(whole, w.t.quant))
	case fill == 0:
		e.result(n, opPad, w.perm, options{}, w.t, pads)
	default:
		e.result(n, opPadV2, w.perm, options{}, w.t, pads, e.scalar(fill))
	}
	return nil
}
