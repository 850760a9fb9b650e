package lint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
	"github.com/onnxopt/onnxopt/targets"
)

func ruleName(row int) string { return fmt.Sprintf("known/%d", row+1) }

// errSeen keeps a match from being rewritten.
var errSeen = errors.New("lint only looks")

// Condition is what a row says of a value, besides the pattern: an element type, or a word.
type Condition struct {
	Value string
	Any   []string // element types as ONNX spells them, or wide, nonzero, several, computed, dynamic, plane, opset<N, opset>N
}

// Pattern is the pattern of a row made ready.
type Pattern struct {
	Match      *rewrite.Pattern
	Conditions []Condition
}

// ParsePattern reads the third column of known.tsv: nodes with ";" between them, then behind "|" conditions "value: word, word" with
// ";" between them.
func ParsePattern(text string) (*Pattern, error) {
	nodes, conds, _ := strings.Cut(text, "|")
	m, err := rewrite.Parse(strings.ReplaceAll(nodes, ";", "\n"))
	if err != nil {
		return nil, err
	}
	p := &Pattern{Match: m}
	for _, c := range strings.Split(conds, ";") {
		if strings.TrimSpace(c) == "" {
			continue
		}
		value, words, ok := strings.Cut(c, ":")
		if !ok {
			return nil, fmt.Errorf("%q is no condition", strings.TrimSpace(c))
		}
		d := Condition{Value: strings.TrimSpace(value)}
		for _, w := range strings.Split(words, ",") {
			w = strings.TrimSpace(w)
			if _, _, isOpset := opsetBound(w); isOpset {
				d.Any = append(d.Any, w)
				continue
			}
			if _, isType := ir.ParseDType(w); !isType && !slices.Contains([]string{"wide", "nonzero", "several", "computed", "dynamic", "plane"}, w) {
				return nil, fmt.Errorf("%q is no element type and no condition", w)
			}
			d.Any = append(d.Any, w)
		}
		p.Conditions = append(p.Conditions, d)
	}
	return p, nil
}

// holds reports whether a value is as one of the words says.
func (d *Condition) holds(v *ir.Value) bool {
	if v == nil {
		return false
	}
	t := v.Type()
	for _, w := range d.Any {
		switch w {
		case "wide": // a constant of int8 that uses more than 7 bits
			if bytesOf(v, func(b byte) bool { return int8(b) > 64 || int8(b) < -64 }) {
				return true
			}
		case "nonzero":
			if bytesOf(v, func(b byte) bool { return b != 0 }) {
				return true
			}
		case "several":
			if c := v.Const(); c != nil && c.Len() > 1 {
				return true
			}
		case "computed":
			if v.Const() == nil {
				return true
			}
		case "dynamic":
			if t.IsTensor() && (t.Shape == nil || slices.ContainsFunc(t.Shape, func(d ir.Dim) bool { return !d.IsStatic() })) {
				return true
			}
		case "plane": // a constant that differs along more than the axis of channels
			if c := v.Const(); c != nil && c.Rank() >= 3 && c.Len() > c.Shape()[c.Rank()-3] {
				return true
			}
		default:
			if less, n, ok := opsetBound(w); ok && v.Node() != nil {
				if o := v.Node().Graph().Opset(""); less && o < n || !less && o > n {
					return true
				}
				continue
			}
			if t.IsTensor() && t.DType().String() == w {
				return true
			}
		}
	}
	return false
}

// opsetBound reads opset<N and opset>N.
func opsetBound(w string) (less bool, n int64, ok bool) {
	rest, ok := strings.CutPrefix(w, "opset")
	if !ok || len(rest) < 2 || rest[0] != '<' && rest[0] != '>' {
		return false, 0, false
	}
	n, err := strconv.ParseInt(rest[1:], 10, 64)
	return rest[0] == '<', n, err == nil
}

func bytesOf(v *ir.Value, f func(byte) bool) bool {
	c := v.Const()
	if c == nil {
		return false
	}
	b, err := c.Bytes()
	return err == nil && slices.ContainsFunc(b, f)
}

// known reports the rows whose pattern is in the model, each with the number of places. What the target avoids by itself is left out
// unless the model is taken as it is.
func known(c *passes.Context, t *targets.Target, m *ir.Model, asIs bool, r *[]targets.Finding) error {
	rows, err := targets.ParseKnown(t.Known)
	if err != nil {
		return fmt.Errorf("known.tsv of %s: %w", t.Name, err)
	}
	for i, k := range rows {
		if k.Pass == "target" && !asIs {
			continue
		}
		p, err := ParsePattern(k.Pattern)
		if err != nil {
			return fmt.Errorf("known.tsv of %s, row %d: %w", t.Name, i+1, err)
		}
		var at []*ir.Node
		rule := &rewrite.Rule{
			Name: strings.ReplaceAll(ruleName(i), "/", "-"), Doc: "looks for what is known to go wrong", Match: p.Match,
			Where: func(m *rewrite.Match) error {
				for _, d := range p.Conditions {
					if !m.Has(d.Value) || !d.holds(m.Value(d.Value)) {
						return errSeen
					}
				}
				if n := m.Root(); !slices.Contains(at, n) {
					at = append(at, n)
				}
				return errSeen
			},
			Replace: func(*rewrite.Builder, *rewrite.Match) []*ir.Value { panic("lint does not rewrite") },
		}
		if err := rewrite.Apply(c, m, rule); err != nil {
			return err
		}
		if len(at) == 0 {
			continue
		}
		f := targets.Finding{
			Kind: targets.Wrong, Rule: ruleName(i), Node: targets.NodeName(at[0]), Op: at[0].Op().String(), Count: len(at),
			Why: fmt.Sprintf("%s (%s): %s", k.Runtime, k.Versions, k.Wrong), Source: k.Source,
		}
		switch k.Pass {
		case "-":
		case "target":
			f.Mend = "--target " + t.Name
		default:
			f.Mend = k.Pass
		}
		*r = append(*r, f)
	}
	return nil
}
