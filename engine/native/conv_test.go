package native_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

func TestConv(t *testing.T) {
	many(t, 200, func(r source) single {
		axes := either(r, 1, 2, 2, 2, 3)
		group := either(r, int64(1), 1, 2, 3)
		in, out := r.size(1, 5), r.size(1, 9)
		if r.IntN(4) == 0 { // depthwise
			group, in, out = r.size(2, 20), 1, 1
		}
		xs, ws := []int64{r.size(0, 2) + 1, in * group}, []int64{out * group, in}
		s := single{op: "Conv", opset: 17}
		var strides, dilations, pads []int64
		for range axes {
			xs, ws = append(xs, r.size(1, 14)), append(ws, either(r, int64(1), 1, 2, 3, 3, 5))
			strides, dilations = append(strides, either(r, int64(1), 1, 2, 3)), append(dilations, either(r, int64(1), 1, 2))
		}
		for range 2 * axes {
			pads = append(pads, r.size(0, 2))
		}
		if r.IntN(3) > 0 {
			s.attrs = append(s.attrs, ir.IntsAttr("strides", strides))
		}
		if r.IntN(3) > 0 {
			s.attrs = append(s.attrs, ir.IntsAttr("dilations", dilations))
		}
		if auto := either(r, "", "", "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"); auto != "" {
			s.attrs = append(s.attrs, ir.StringAttr("auto_pad", auto))
		} else {
			s.attrs = append(s.attrs, ir.IntsAttr("pads", pads))
		}
		s.attrs = append(s.attrs, ir.IntAttr("group", group))
		if r.IntN(20) == 0 { // does not fit
			ws[1]++
		}
		if r.IntN(20) == 0 {
			xs[0] = 0
		}
		s.in = []*ir.Tensor{r.tensor(r.IntN(8) == 0, xs...), r.tensor(false, ws...)}
		if r.IntN(2) == 0 {
			s.in = append(s.in, r.tensor(false, ws[0]))
		}
		return s
	})
}

// TestConvDeep has sums over more than one block.
func TestConvDeep(t *testing.T) {
	many(t, 8, func(r source) single {
		k := either(r, int64(1), 3)
		return single{op: "Conv", opset: 11, attrs: []*ir.Attr{ir.IntsAttr("pads", []int64{1, 1, 1, 1})},
			in: []*ir.Tensor{r.tensor(false, 1, 300, 9, 11), r.tensor(false, 13, 300, k, k), r.tensor(false, 13)}}
	})
}

func TestConvTranspose(t *testing.T) {
	many(t, 200, func(r source) single {
		axes := either(r, 1, 2, 2, 2, 3)
		group := either(r, int64(1), 1, 2, 3)
		xs, ws := []int64{r.size(1, 2), r.size(1, 5) * group}, []int64{0, r.size(1, 9)}
		ws[0] = xs[1]
		s := single{op: "ConvTranspose", opset: 11}
		var strides, dilations, pads, extra, want []int64
		for range axes {
			xs, ws = append(xs, r.size(1, 14)), append(ws, r.size(1, 4))
			strides, dilations = append(strides, r.size(1, 3)), append(dilations, either(r, int64(1), 1, 2))
			extra, want = append(extra, r.size(0, 1)), append(want, r.size(1, 20))
		}
		if r.IntN(3) == 0 {
			strides, dilations = ws[2:], nil
		}
		for range 2 * axes {
			pads = append(pads, r.size(0, 2)*r.size(0, 1))
		}
		if r.IntN(4) > 0 {
			s.attrs = append(s.attrs, ir.IntsAttr("strides", strides))
		}
		if r.IntN(2) == 0 && dilations != nil {
			s.attrs = append(s.attrs, ir.IntsAttr("dilations", dilations))
		}
		if r.IntN(3) == 0 {
			s.attrs = append(s.attrs, ir.IntsAttr("output_padding", extra))
		}
		if r.IntN(4) == 0 {
			s.attrs = append(s.attrs, ir.IntsAttr("output_shape", want))
		}
		if auto := either(r, "", "", "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"); auto != "" {
			s.attrs = append(s.attrs, ir.StringAttr("auto_pad", auto))
		} else if r.IntN(2) == 0 {
			s.attrs = append(s.attrs, ir.IntsAttr("pads", pads))
		}
		s.attrs = append(s.attrs, ir.IntAttr("group", group))
		if r.IntN(20) == 0 { // does not fit
			ws[0]++
		}
		s.in = []*ir.Tensor{r.tensor(r.IntN(8) == 0, xs...), r.tensor(false, ws...)}
		if r.IntN(2) == 0 {
			s.in = append(s.in, r.tensor(false, ws[1]*group))
		}
		return s
	})
}

// TestFusedConv has an activation, and sometimes what is added before it.
func TestFusedConv(t *testing.T) {
	many(t, 60, func(r source) single {
		s := single{op: "FusedConv", domain: "com.microsoft", opset: 17, attrs: []*ir.Attr{ir.IntsAttr("pads", []int64{1, 1, 1, 1})},
			in: []*ir.Tensor{r.tensor(r.IntN(4) == 0, 2, 3, 7, 5), r.tensor(false, 4, 3, 3, 3), nil}}
		if r.IntN(2) == 0 {
			s.in[2] = r.tensor(false, 4)
		}
		switch act := either(r, "", "Relu", "Relu", "Clip", "Clip", "LeakyRelu", "Tanh"); act {
		case "":
		case "Clip":
			s.attrs = append(s.attrs, ir.FloatsAttr("activation_params", []float32{-1, float32(r.IntN(3))}), ir.StringAttr("activation", act))
		case "LeakyRelu":
			s.attrs = append(s.attrs, ir.FloatsAttr("activation_params", []float32{0.1}), ir.StringAttr("activation", act))
		default:
			s.attrs = append(s.attrs, ir.StringAttr("activation", act))
		}
		if r.IntN(4) == 0 {
			s.in = append(s.in, r.tensor(false, 2, 4, 7, 5))
		}
		return s
	})
}
