package c

import (
	"fmt"
	"strings"
)

// helper is a function that bodies call, for machines of some widths.
type helper struct {
	name, text string
	lanes      []int
}

// helpers collects them; equal ones are written once.
type helpers struct {
	prefix string
	byText map[string]*helper
	list   []*helper
	lanes  int  // of the body that is written now
	small  bool // the source is to be small
}

func newHelpers(prefix string) *helpers {
	return &helpers{prefix: prefix, byText: map[string]*helper{}}
}

// add takes a function from its parameters on, and returns its name.
func (h *helpers) add(base, text string) string {
	f := h.byText[text]
	if f == nil {
		f = &helper{name: fmt.Sprintf("%s_%s%d", h.prefix, base, len(h.list)), text: text}
		h.byText[text] = f
		h.list = append(h.list, f)
	}
	for _, l := range f.lanes {
		if l == h.lanes {
			return f.name
		}
	}
	f.lanes = append(f.lanes, h.lanes)
	return f.name
}

// guard is the condition under which something for machines of these widths is compiled; empty: always.
func guard(prefix string, lanes, all []int) string {
	if len(lanes) == len(all) {
		return ""
	}
	var c []string
	for _, l := range lanes {
		c = append(c, fmt.Sprintf("%s_LANES == %d", prefix, l))
	}
	return strings.Join(c, " || ")
}

// widths are those of the vectors that bodies are written for.
func widths() []int { return []int{16, 8, 4} }
