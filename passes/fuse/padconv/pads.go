package padconv

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// largest bounds pads, so that sums of them cannot overflow what engines take.
const largest = 1 << 20

// keepPads leaves in m.Keep what the pads of the root become: its own and those of the Pad, the starts of all spatial axes before
// their ends. weight is the shape of a convolution's weights, of which only the rank counts.
func keepPads(m *rewrite.Match, weight ir.Shape) error {
	pads, err := padding(m, len(weight))
	if err != nil {
		return err
	}
	own, rank := ownPads(m.Root()), len(pads)/2
	switch {
	case rank < 3 || pads[0] != 0 || pads[1] != 0 || pads[rank] != 0 || pads[rank+1] != 0:
		return fmt.Errorf("pads %v are not of spatial axes alone", pads)
	case slices.Max(pads) > largest || slices.Min(pads) < 0:
		return fmt.Errorf("pads %v remove elements, or are too large", pads)
	}
	switch auto := m.Root().Str("auto_pad", "NOTSET"); auto {
	case "NOTSET", "VALID", "":
	default:
		return fmt.Errorf("auto_pad=%s depends on the size that the Pad gives", auto)
	}
	sum := slices.Concat(pads[2:rank], pads[rank+2:])
	if own != nil && len(own) != len(sum) {
		return fmt.Errorf("%d pads on %d spatial axes", len(own), rank-2)
	}
	for i, x := range own {
		if x < 0 || x > largest {
			return fmt.Errorf("the pads of %s are %v", m.Root(), own)
		}
		sum[i] += x
	}
	m.Keep = sum
	return nil
}

// ownPads are the pads that n states, nil if it states none.
func ownPads(n *ir.Node) []int64 {
	if n.Str("auto_pad", "NOTSET") == "VALID" {
		return nil
	}
	return n.Ints("pads")
}

// keepPoolPads is keepPads for a pooling. Every window has to hold an element that is no padding, and may not reach beyond the padding, of
// which engines have different ideas.
func keepPoolPads(m *rewrite.Match) error {
	n := m.Root()
	kernel := n.Ints("kernel_shape")
	if err := keepPads(m, make(ir.Shape, len(kernel)+2)); err != nil {
		return err
	}
	if n.Int("ceil_mode", 0) != 0 {
		return errors.New("ceil_mode is set")
	}
	if slices.ContainsFunc(n.Ints("dilations"), func(d int64) bool { return d != 1 }) {
		return errors.New("the windows are dilated")
	}
	for i, x := range m.Keep.([]int64) {
		if len(kernel) == 0 || x >= kernel[i%len(kernel)] {
			return fmt.Errorf("pads %v are not smaller than the windows %v", m.Keep, kernel)
		}
	}
	return nil
}

// padding gives the pads of the match's Pad for all axes, starts before ends. rank is the number of axes, needed where the Pad
// names the axes it pads.
func padding(m *rewrite.Match, rank int) ([]int64, error) {
	if !m.Has("pads") {
		return evenPads(m.Attr("pads").Ints())
	}
	given, ok, err := rewrite.Ints(m.Const("pads"))
	m.Fail(err)
	if !ok {
		return nil, errors.New("its pads are no integers")
	}
	if !m.Has("axes") {
		return evenPads(given)
	}
	axes, ok, err := rewrite.Ints(m.Const("axes"))
	m.Fail(err)
	if !ok || len(given) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for axes %v", len(given), axes)
	}
	all, seen := make([]int64, 2*rank), make([]bool, rank)
	for i, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < 0 || a >= int64(rank) || seen[a] {
			return nil, fmt.Errorf("axes %v are repeated or those of a value of unknown or other rank", axes)
		}
		seen[a] = true
		all[a], all[a+int64(rank)] = given[i], given[i+len(axes)]
	}
	return all, nil
}

func evenPads(p []int64) ([]int64, error) {
	if len(p) == 0 || len(p)%2 != 0 {
		return nil, fmt.Errorf("%d pads", len(p))
	}
	return p, nil
}
