package report

import (
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// RestoreOrigin makes the origins of m's main graph refer to another file: the one m was made of, as KeepOrigin put it into the
// metadata. Nodes without such metadata lose their origin, which is a place in m's own file.
func RestoreOrigin(m *ir.Model) {
	for n := range m.Main.Nodes() {
		n.SetOrigin(kept(n.Meta()))
	}
}

// kept reads the metadata that withOrigin wrote; nil if there are none.
func kept(m *ir.Meta) *ir.Origin {
	text, ok := m.Get(originSources)
	if !ok {
		return nil
	}
	var parents []*ir.Origin
	for _, s := range strings.Fields(text) {
		part := strings.SplitN(s, ":", 4)
		if len(part) != 4 || part[0] != "" { // other graphs are not compared; a part of a name with blanks
			continue
		}
		if pos, err := strconv.Atoi(part[1]); err == nil {
			parents = append(parents, ir.SourceOrigin(&ir.Source{Pos: pos, Name: part[2]}))
		}
	}
	rules, _ := m.Get(originRules)
	o := ir.DerivedOrigin("", parents...)
	for _, r := range strings.Fields(rules) {
		o = ir.DerivedOrigin(r, o)
	}
	return o
}
