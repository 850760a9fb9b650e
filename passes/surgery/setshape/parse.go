package setshape

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

// dim reads one dimension. keep says that it stays as it is.
func dim(text string) (d ir.Dim, keep bool, err error) {
	text = strings.TrimSpace(text)
	switch n, err := strconv.ParseInt(text, 10, 64); {
	case text == "_":
		return ir.UnknownDim(), true, nil
	case text == "?":
		return ir.UnknownDim(), false, nil
	case err == nil && n >= 0:
		return ir.Static(n), false, nil
	case err == nil:
		return d, false, fmt.Errorf("%d is no size", n)
	}
	if !isSymbol(text) {
		return d, false, fmt.Errorf("%q is neither a size nor a symbol, ? or _", text)
	}
	return ir.Symbol(text), false, nil
}

func isSymbol(s string) bool {
	return s != "" && !(s[0] >= '0' && s[0] <= '9') && strings.IndexFunc(s, func(c rune) bool { return !isWord(c) }) < 0
}

// isWord reports whether c may be part of a symbol.
func isWord(c rune) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c > 0x7f
}

// axisOf reads "axis:dimension"; axes below 0 count from the end.
func axisOf(text string, rank int) (axis int, rest string, err error) {
	a, rest, ok := strings.Cut(text, ":")
	if !ok {
		return 0, "", fmt.Errorf("%q is not of the form axis:size", strings.TrimSpace(text))
	}
	axis, err = strconv.Atoi(strings.TrimSpace(a))
	if err != nil {
		return 0, "", fmt.Errorf("%q is no axis", strings.TrimSpace(a))
	}
	if axis < -rank || axis >= rank {
		return 0, "", fmt.Errorf("there is no axis %d, it has %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, rest, nil
}

// symbolsOf are the symbols of the inputs.
func (s *setter) symbolsOf() map[string]bool {
	r := map[string]bool{}
	for _, in := range s.m.Main.Inputs() {
		for _, d := range in.Type().TensorShape() {
			if named(d) {
				r[d.Param] = true
			}
		}
	}
	return r
}

func (s *setter) hasSymbol(name string) bool { return s.symbolsOf()[name] }

func (s *setter) unknown(key string) error {
	symbols := slices.Sorted(maps.Keys(s.symbolsOf()))
	var inputs []string
	for _, in := range s.m.Main.Inputs() {
		inputs = append(inputs, in.Name())
	}
	return fmt.Errorf("there is no input and no symbol %q%s", key, spell.Hint(key, append(inputs, symbols...)))
}

// admits reports whether a tensor of that size may be fed where the shape is declared.
func admits(s ir.Shape, sizes []int64) bool {
	return len(s) == len(sizes) && func() bool {
		for i, n := range sizes {
			if s[i].IsStatic() && s[i].Size != n {
				return false
			}
		}
		return true
	}()
}
