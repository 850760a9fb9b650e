package quantize

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// untouched are the float operators of the main graph that are neither units nor kept for a reason of their own: those that the profile has no
// integer form for, and those that would gain nothing by it.
func (p *plan) untouched() (unsupported, idle []verdict) {
	done := map[*ir.Node]bool{}
	for _, u := range p.units {
		done[u.node] = true
		if u.clamp != nil {
			done[u.clamp] = true
		}
	}
	for _, v := range p.kept {
		done[v.node] = true
	}
	for n := range p.m.Main.Nodes() {
		if done[n] || n.IsReturn() || n.NumResults() == 0 || !p.floatResult(n) || n.Is("Constant", "QuantizeLinear", "DequantizeLinear") {
			continue
		}
		op := n.Op().Type
		switch {
		case n.Is(op) && slices.Contains(slices.Concat(p.p.Weighted, p.p.Light, p.p.Sharing), op):
			idle = append(idle, verdict{n, "nothing before or behind it is in integers, or float is as fast and more exact there"})
		default:
			unsupported = append(unsupported, verdict{n, p.p.Name + " has no integer form of it"})
		}
	}
	return unsupported, idle
}

// countText is a line of numbers by operator; empty if there are none.
func countText(what string, v []verdict) string {
	counts := map[string]int{}
	for _, x := range v {
		counts[x.node.Op().Type]++
	}
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[op], op))
	}
	if len(parts) == 0 {
		return ""
	}
	return "\n  " + what + ": " + strings.Join(parts, ", ")
}
