package compare

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// GenerateOptions of a Generator. The zero value is usable.
type GenerateOptions struct {
	Seed     uint64
	Memory   int64            // bytes that the inputs of one set may take; default 128 MB
	Attempts int              // sets the search may try; default 96
	Sizes    map[string]int64 // sizes of symbols that the caller knows
	// Types tells what is known of a value besides the recorded types; nil: shape inference, if it is needed.
	Types func(*ir.Value) *ir.Type
}

// Generator is a Source of plausible inputs for a model: indices stay inside the tables they reach, masks are 0 and 1,
// values that the model compares with constants take those constants, equal symbols have equal sizes, and each free
// dimension comes in two sizes. Sizes that the model refuses are replaced by others, within a bounded number of attempts;
// so the consumer has to report refusals. Inputs with a default are left out. The sets depend on the seed and the model's
// refusals only.
type Generator struct {
	o       GenerateOptions
	inputs  []genInput
	classes []sizeClass
	refused error
}

// genInput is an input to fill.
type genInput struct {
	slot  *ir.Slot
	typ   *ir.Type // a tensor's type, possibly inside a sequence, optional or map; nil if nothing is known
	role  role
	ranks []int64   // candidates where the rank is unknown
	dims  [][]int64 // for each candidate rank (or the only one), a static size or ^class for each axis
}

// sizeClass is a set of dimensions of one size: those of one symbol, or one anonymous dimension.
type sizeClass struct {
	name   string
	ladder []int64 // sizes to try, best first
	batch  bool
	later  bool // an anonymous dimension of an input after the first
	// A dimension that is written as a sum, as exporters do ("past + 1"), is the sum of classes and a constant.
	sum  []int
	plus int64
}

// NewGenerator studies m. It walks the model once for each input.
func NewGenerator(m *ir.Model, o GenerateOptions) *Generator {
	if o.Memory == 0 {
		o.Memory = 128 << 20
	}
	if o.Attempts == 0 {
		o.Attempts = 96
	}
	if o.Types == nil {
		inferred := sync.OnceValue(func() *infer.Result { return infer.Model(m) })
		o.Types = func(v *ir.Value) *ir.Type { return inferred().Type(v) }
	}
	g := &Generator{o: o}
	functions := make(map[ir.OpID]*ir.Function, len(m.Functions))
	for _, f := range m.Functions {
		functions[f.ID()] = f
	}
	bySymbol := map[string]int{}
	for _, s := range m.Main.Inputs() {
		if s.Value().Default() == nil {
			g.inputs = append(g.inputs, g.input(s, functions, bySymbol))
		}
	}
	return g
}

// Refused notes that the model did not take the last set; the search goes on.
func (g *Generator) Refused(err error) bool {
	g.refused = err
	return true
}

// Inputs generates sets without running the model: the first guess of each size, then the second. Prefer a Generator
// with an engine where there is one.
func Inputs(m *ir.Model, seed uint64, o GenerateOptions) []map[string]ir.Datum {
	o.Seed = seed
	var r []map[string]ir.Datum
	for s, err := range NewGenerator(m, o).Sets(context.Background()) {
		if err == nil {
			r = append(r, s.Inputs)
		}
	}
	return r
}

// config is one choice of everything that is free.
type config struct {
	size   []int // by class: place in its ladder
	rank   int   // place in the candidates of inputs of unknown rank
	choice []int // by input: which of the constants it is compared with
	style  style // which values are drawn where nothing else decides
}

// style is a way to draw values, for models that fail, give NaN or are unsteady on the usual ones.
type style uint8

const (
	styleNormal style = iota // floats standard normal, integers 0 to 9 or any of eight bits
	styleUnit                // floats in [0,1), integers 0 and 1
	styleAbove               // floats in [1,2), integers 1 and 2
	numStyles
)

func (c config) clone() config {
	c.size, c.choice = slices.Clone(c.size), slices.Clone(c.choice)
	return c
}

// search is one pass over the configurations.
type search struct {
	g     *Generator
	ctx   context.Context
	yield func(Set, error) bool
	left  int
	done  bool
	seen  map[string]bool
}

// Sets yields sets until two sizes of every free dimension were taken or the attempts are used up.
func (g *Generator) Sets(ctx context.Context) iter.Seq2[Set, error] {
	return func(yield func(Set, error) bool) {
		s := &search{g: g, ctx: ctx, yield: yield, left: g.o.Attempts, seen: map[string]bool{}}
		if base, ok := s.base(); ok {
			s.sizes(base)
			s.choices(base)
		}
	}
}

var errTooLarge = errors.New("the inputs are larger than the budget")

// try offers a configuration and reports whether the model took it. A configuration is offered once.
func (s *search) try(c config) bool {
	label := s.g.label(c)
	s.g.refused = nil
	if s.done || s.left == 0 || s.ctx.Err() != nil || s.seen[label] {
		return false
	}
	s.seen[label] = true
	set, err := s.g.set(c, label)
	if errors.Is(err, errTooLarge) {
		return false
	}
	s.left--
	s.done = !s.yield(set, err) || err != nil
	return !s.done && s.g.refused == nil
}

// base looks for a first configuration that the model takes: all sizes from the same rung of their ladders, with the
// dimensions of all inputs but the first at 1 (often they are a batch, too), then random combinations; once more with other
// styles of values.
func (s *search) base() (config, bool) {
	rungs, ranks := 1, 1
	for _, c := range s.g.classes {
		rungs = max(rungs, len(c.ladder))
	}
	for _, in := range s.g.inputs {
		ranks = max(ranks, len(in.ranks))
	}
	for style := range numStyles {
		for rung := range rungs {
			for rank := range ranks {
				for _, ones := range []bool{false, true} {
					if c := s.g.rung(rung, rank, ones, style); s.tryNear(&c) {
						return c, true
					}
				}
			}
		}
	}
	r := newRand(s.g.o.Seed, "search")
	for s.left > s.g.o.Attempts/8 && !s.done && s.ctx.Err() == nil && len(s.g.classes) > 1 {
		c := s.g.rung(0, r.IntN(ranks), false, style(r.IntN(int(numStyles))))
		for i, k := range s.g.classes {
			c.size[i] = r.IntN(len(k.ladder))
		}
		before := s.left
		if s.try(c) {
			return c, true
		}
		if s.left == before {
			s.left-- // seen already; the search has to end
		}
	}
	return config{}, false
}

// tryNear is try; where the values alone make the model give NaN or unsteady, it goes on to other styles at the same sizes, and where
// the outputs are empty, to larger batches. It leaves in c what was taken.
func (s *search) tryNear(c *config) bool {
	for range 3 {
		if s.try(*c) {
			return true
		}
		var unsteady *UnsteadyError
		switch {
		case (errors.Is(s.g.refused, ErrOnlyNaN) || errors.As(s.g.refused, &unsteady)) && c.style+1 < numStyles:
			c.style++
		case errors.Is(s.g.refused, ErrEmpty):
			for i, k := range s.g.classes {
				if k.batch && c.size[i]+1 < len(k.ladder) {
					c.size[i]++
				}
			}
		default:
			return false
		}
	}
	return false
}

// rung is the configuration in which every size that is no batch stands on the same rung. With ones, the anonymous
// dimensions of inputs after the first are 1 where that is possible.
func (g *Generator) rung(rung, rank int, ones bool, values style) config {
	c := config{size: make([]int, len(g.classes)), rank: rank, choice: make([]int, len(g.inputs)), style: values}
	for i, k := range g.classes {
		if !k.batch {
			c.size[i] = min(rung, len(k.ladder)-1)
		}
		if at := slices.Index(k.ladder, 1); ones && k.later && at >= 0 {
			c.size[i] = at
		}
	}
	return c
}

// sizes offers a second size of each free dimension: of all at once if the model takes that, else one by one. Dimensions
// of equal size are also changed together, for they may have to be equal.
func (s *search) sizes(base config) {
	all, linked := base.clone(), base.clone()
	groups := s.g.groups(base)
	for _, group := range groups {
		for _, i := range group {
			all.size[i] = s.g.other(i, base.size[i], 1)
		}
		s.g.link(&linked, group, 1)
	}
	if s.try(all) || s.try(linked) {
		return
	}
	for _, group := range groups {
		varied := false
		for _, i := range group {
			for k := 1; k <= 4; k++ {
				c := base.clone()
				if c.size[i] = s.g.other(i, base.size[i], k); s.try(c) {
					varied = true
					break
				}
			}
		}
		for k := 1; k <= 4 && !varied && len(group) > 1; k++ {
			c := base.clone()
			s.g.link(&c, group, k)
			varied = s.try(c)
		}
	}
}

// groups lists the classes by size, in the order of the classes.
func (g *Generator) groups(c config) [][]int {
	var r [][]int
	at := map[int64]int{}
	for i, k := range g.classes {
		if len(k.ladder) == 1 {
			continue // nothing is free
		}
		n := g.size(c, i)
		if _, ok := at[n]; !ok {
			at[n] = len(r)
			r = append(r, nil)
		}
		r[at[n]] = append(r[at[n]], i)
	}
	return r
}

// link gives all classes of a group the k-th other size of the first, as far as their ladders have it.
func (g *Generator) link(c *config, group []int, k int) {
	first := group[0]
	n := g.classes[first].ladder[g.other(first, c.size[first], k)]
	for _, i := range group {
		if at := slices.Index(g.classes[i].ladder, n); at >= 0 {
			c.size[i] = at
		}
	}
}

// other is the k-th place in the ladder of a class besides the one at hand.
func (g *Generator) other(class, at, k int) int {
	return (at + k) % len(g.classes[class].ladder)
}

// choices offers the further constants that a scalar input is compared with, with other sizes if need be.
func (s *search) choices(base config) {
	for i, in := range s.g.inputs {
		for k := 1; k < min(len(in.choices()), 5); k++ {
			c := base.clone()
			c.choice[i] = k
			if s.try(c) {
				continue
			}
			s.resize(c)
		}
	}
}

// resize looks for sizes that go with the choices of c.
func (s *search) resize(c config) {
	for rung := range 6 {
		for _, ones := range []bool{false, true} {
			d := s.g.rung(rung, c.rank, ones, c.style)
			d.choice = c.choice
			if s.try(d) {
				return
			}
		}
	}
}

// label describes a configuration; equal ones have equal labels.
func (g *Generator) label(c config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generated, seed %d", g.o.Seed)
	for i, k := range g.classes {
		if g.used(c, i) {
			fmt.Fprintf(&b, ", %s=%d", k.name, g.size(c, i))
		}
	}
	for i, in := range g.inputs {
		if len(in.ranks) > 1 {
			fmt.Fprintf(&b, ", rank of %s=%d", in.slot.Name(), in.rank(c))
		}
		if ch := in.choices(); len(ch) > 1 {
			fmt.Fprintf(&b, ", %s=%g", in.slot.Name(), ch[c.choice[i]])
		}
	}
	b.WriteString([numStyles]string{"", ", values in [0,1)", ", values in [1,2)"}[c.style])
	return b.String()
}

// used reports whether a class occurs in the ranks that c chooses.
func (g *Generator) used(c config, class int) bool {
	for _, in := range g.inputs {
		if slices.Contains(in.axes(c), int64(^class)) {
			return true
		}
	}
	return false
}
