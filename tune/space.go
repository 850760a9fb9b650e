package tune

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/passes"
)

// Gene is one choice of the space.
type Gene struct {
	Name  string  // "quantize", "prune group 2"
	Group int     // of layers; -1: the whole model
	Kind  Kind    // what it does
	Level []Level // the first leaves the model as it is
}

// Level is a value of a gene.
type Level struct {
	Name string
	// Pass is the text of what it adds to the pipeline, without only=; "" for what leaves all as it is.
	Pass string
}

// Kind orders the steps of a pipeline: first what changes the architecture, then what makes layers smaller, then types, then fusions.
type Kind uint8

// The kinds, in the order of the pipeline.
const (
	Widen Kind = iota // floats of 16 bits to 32
	Input
	Branch
	Separate
	Prune
	Decompose
	Stored   // weights of fewer bits
	Quantize // types of the whole model; a group of layers may stay out
	Keep     // a group that a quantizer leaves alone
	Precision
	Fusion
	kinds
)

// Group is some layers that are treated alike, because they shrink together or follow one another.
type Group struct {
	Layers []string // selectors, as only= takes them
	MACs   int64
	Bytes  int64
}

// Space is what may be chosen for a model.
type Space struct {
	Genes  []Gene
	Groups []Group
	// Before is run ahead of what is chosen and Final behind it, whatever is chosen.
	Before, Final string
}

// Genome is a level of each gene.
type Genome []uint8

func (g Genome) key() string { return string(g) }

// Whole is the genome that leaves the model as it is.
func (s *Space) Whole() Genome { return make(Genome, len(s.Genes)) }

// Name says in words what a genome does.
func (s *Space) Name(g Genome) string {
	var words []string
	for i, gene := range s.Genes {
		if g[i] > 0 {
			words = append(words, gene.Name+" "+gene.Level[g[i]].Name)
		}
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// Pipeline is the text of what a genome does. Groups with the same choice are one step.
func (s *Space) Pipeline(g Genome) string {
	var steps []string
	if s.Before != "" {
		steps = append(steps, s.Before)
	}
	for k := Kind(0); k < kinds; k++ {
		if k == Keep {
			continue
		}
		selected := map[string][]string{} // by text, the layers that it is limited to
		var order []string
		for i, gene := range s.Genes {
			if gene.Kind != k || g[i] == 0 {
				continue
			}
			text := gene.Level[g[i]].Pass
			if text == "" {
				continue
			}
			if gene.Group < 0 {
				if k == Quantize {
					text = with(text, "except", s.kept(g))
				}
				steps = append(steps, text)
				continue
			}
			if selected[text] == nil {
				order = append(order, text)
			}
			selected[text] = append(selected[text], s.Groups[gene.Group].Layers...)
		}
		for _, text := range order {
			steps = append(steps, with(text, "only", selected[text]))
		}
	}
	if s.Final != "" {
		steps = append(steps, s.Final)
	}
	return strings.Join(steps, ",")
}

// kept are the layers that quantizers leave alone: those chosen, and those that get a type of their own.
func (s *Space) kept(g Genome) (r []string) {
	for i, gene := range s.Genes {
		if (gene.Kind == Keep || (gene.Kind == Stored || gene.Kind == Precision) && gene.Group >= 0) && g[i] > 0 {
			for _, l := range s.Groups[gene.Group].Layers {
				if !slices.Contains(r, l) {
					r = append(r, l)
				}
			}
		}
	}
	return r
}

// with adds a list option to the text of a pass.
func with(text, option string, names []string) string {
	if len(names) == 0 {
		return text
	}
	add := option + "=" + passes.List(names)
	if i := strings.IndexByte(text, '{'); i >= 0 {
		return text[:i+1] + add + " " + text[i+1:]
	}
	return text + "{" + add + "}"
}
