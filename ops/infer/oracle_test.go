package infer_test

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// oracle is what onnx and ONNX Runtime infer of the values of a model, by name. Type notation: "float[1,?,\"N\"]".
type oracle struct {
	ONNX map[string]*string `json:"onnx"`
	ORT  map[string]*string `json:"ort_symbolic"`
}

// parsed is a type in that notation.
type parsed struct {
	wrap   string // "seq(" and the like
	elem   string
	ranked bool
	dims   []string // digits, "?" or a quoted name
}

func parseType(s *string) (p parsed, ok bool) {
	if s == nil {
		return p, false
	}
	t := *s
	for strings.Contains(t, "(") {
		i := strings.Index(t, "(")
		p.wrap += t[:i+1]
		t = strings.TrimSuffix(t[i+1:], ")")
	}
	elem, rest, shaped := strings.Cut(t, "[")
	p.elem = elem
	rest = strings.TrimSuffix(rest, "]")
	if !shaped || rest == "*" {
		return p, true
	}
	p.ranked = true
	for rest != "" {
		var d string
		if rest[0] == '"' {
			end := strings.Index(rest[1:], "\"") + 2
			d, rest = rest[:end], strings.TrimPrefix(rest[end:], ",")
		} else {
			d, rest, _ = strings.Cut(rest, ",")
		}
		p.dims = append(p.dims, d)
	}
	return p, true
}

// inner takes sequence and optional types apart.
func inner(t *ir.Type) (wrap string, u *ir.Type) {
	for t != nil && (t.Kind == ir.KindSequence || t.Kind == ir.KindOptional) {
		wrap += map[ir.TypeKind]string{ir.KindSequence: "seq(", ir.KindOptional: "optional("}[t.Kind]
		t = t.Of
	}
	return wrap, t
}

// contradiction says how t and what the oracle found cannot both be true, "" if they can. Sizes are compared under two assignments of sizes
// to the symbols.
func contradiction(t *ir.Type, p parsed, symbols [2]map[string]int64) string {
	wrap, t := inner(t)
	if t == nil || p.wrap != wrap {
		if t == nil {
			return ""
		}
		return "constructor"
	}
	if e := t.DType(); e != ir.Undefined && e.String() != p.elem {
		return "element type"
	}
	s := t.TensorShape()
	if s == nil || !p.ranked {
		return ""
	}
	if len(s) != len(p.dims) {
		return "rank"
	}
	for i, d := range s {
		for _, of := range symbols {
			a, ok := evaluate(d.String(), of)
			b, ok2 := evaluate(p.dims[i], of)
			if ok && ok2 && b >= 0 && a != b {
				return fmt.Sprintf("dimension %d", i)
			}
		}
	}
	return ""
}

// tally counts facts of one kind.
type tally struct{ theirs, both, ours int }

func (c *tally) add(known, known2 bool) {
	switch {
	case known && known2:
		c.theirs++
		c.both++
	case known:
		c.theirs++
	case known2:
		c.ours++
	}
}

func (c tally) String() string {
	return fmt.Sprintf("%d of the %d they know, and %d more", c.both, c.theirs, c.ours)
}

// score counts element types, ranks and sizes. A size counts as known where it is a number or an expression over the symbols of the model's
// inputs.
type score struct {
	elems, ranks, sizes tally
	values              tally          // all sizes of which are known
	missed              map[string]int // facts that a peer knows and we do not, by operator
	occurred            map[int]bool   // guesses that were met
}

// ranks is the rank that peers know of a value, 0 if none does.
func ranks(peers []parsed) int {
	n := 0
	for _, p := range peers {
		n = max(n, len(p.dims))
	}
	return n
}

// known tells which sizes of a tensor are.
func known(t *ir.Type, symbols map[string]int64) (sizes []bool) {
	_, u := inner(t)
	for _, d := range u.TensorShape() {
		_, ok := evaluate(d.String(), symbols)
		sizes = append(sizes, ok)
	}
	return sizes
}

// knowsMore reports whether a peer knows something that t does not say.
func knowsMore(p parsed, t *ir.Type, symbols map[string]int64) bool {
	s := score{missed: map[string]int{}}
	return s.count("", t, known(t, symbols), []parsed{p}, symbols)
}

// count adds what is known of one value to s; missed reports whether we know less.
func (s *score) count(op string, t *ir.Type, ours []bool, peers []parsed, symbols map[string]int64) (missed bool) {
	var elem, rank bool
	theirs := map[int]bool{}
	for _, p := range peers {
		elem = true
		rank = rank || p.ranked
		for i, d := range p.dims {
			if n, ok := evaluate(d, symbols); ok && n >= 0 {
				theirs[i] = true
			}
		}
	}
	add := func(c *tally, known, known2 bool) {
		c.add(known, known2)
		if known && !known2 {
			s.missed[op]++
			missed = true
		}
	}
	_, u := inner(t)
	add(&s.elems, elem, u.DType() != ir.Undefined)
	add(&s.ranks, rank, u.TensorShape() != nil)
	add(&s.values, rank && len(theirs) == ranks(peers), u.TensorShape() != nil && !slices.Contains(ours, false))
	for i := range max(len(ours), len(theirs)) {
		add(&s.sizes, theirs[i], i < len(ours) && ours[i])
	}
	return missed
}

// guess is a claim of a peer that does not follow from the model, or does not hold: what is recorded of the tests' runs, or the definition
// of the operator, tells.
type guess struct{ tool, model, value, why string }

// guesses lists them; model and value are patterns as path.Match has them. Each must occur.
var guesses = []guess{
	{"ort", "node/test_split_variable_parts_*", "output_*", "it takes a Split whose sizes are an input for one into equal parts"},
	{"ort", "node/test_split_zero_size_splits_*", "output_*", "it takes a Split whose sizes are an input for one into equal parts"},
	{"ort", "node/test_squeeze*", "y", "it takes a Squeeze whose axes are an input for one without axes"},
	{"ort", "node/test_rms_normalization_*_expanded", "*", "it takes a ReduceMean whose axes are computed for one that reduces nothing"},
	{"ort", "node/test_rotary_embedding*_expanded", "*", "it takes a Split whose sizes are computed for one into equal parts"},
	{"ort", "node/test_sequence_insert_at_*", "output_sequence", "elements that are there already may have other sizes, and do have them in the test"},
	{"onnx", "node/test_loop13_seq", "seq_res", "it believes the declaration of the operand, whose elements would be scalars, and the body inserts vectors"},
	{"onnx", "node/test_loop16_seq_none", "seq_res", "without a round the result is the operand, which is an optional"},
	{"onnx", "silero-vad.onnx", "If_0_outputs_1", "in an If further inside, the results of the branches have ranks 1 and 2"},
	{"onnx", "silero-vad.onnx", "stateN", "in an If further inside, the results of the branches have ranks 1 and 2"},
}

// guessed reports whether a claim is one of the guesses, and notes which.
func (s *score) guessed(tool, model, value string) (found bool) {
	for i, g := range guesses {
		m, _ := path.Match(g.model, model)
		v, _ := path.Match(g.value, value)
		if g.tool == tool && m && v {
			s.occurred[i] = true
			found = true
		}
	}
	return found
}

// disputed reports whether the two peers contradict each other about a value; then only the recorded outputs can tell who is right.
func disputed(o oracle, value string) bool {
	p, ok := parseType(o.ONNX[value])
	q, ok2 := parseType(o.ORT[value])
	if !ok || !ok2 {
		return false
	}
	if p.elem != q.elem || p.ranked && q.ranked && len(p.dims) != len(q.dims) {
		return true
	}
	for i := range min(len(p.dims), len(q.dims)) {
		a, err := strconv.Atoi(p.dims[i])
		b, err2 := strconv.Atoi(q.dims[i])
		if err == nil && err2 == nil && a != b {
			return true
		}
	}
	return false
}

// against compares what is inferred of the results of m's nodes with what the peers found.
func against(t *testing.T, name string, m *ir.Model, o oracle, s *score) {
	r := infer.Model(m)
	symbols := [2]map[string]int64{inputSymbols(m, 0), inputSymbols(m, 5)}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v == nil {
				continue
			}
			typ := r.Type(v)
			var peers []parsed
			for tool, found := range map[string]map[string]*string{"onnx": o.ONNX, "ort": o.ORT} {
				p, ok := parseType(found[v.Name()])
				if !ok {
					continue
				}
				if why := contradiction(typ, p, symbols); why != "" {
					if !disputed(o, v.Name()) && !s.guessed(tool, name, v.Name()) {
						t.Errorf("%s: value %q: %s: %s finds %s, we find %s (%s)", name, v.Name(), n, tool, *found[v.Name()], typ, why)
					}
					continue
				}
				if knowsMore(p, typ, symbols[0]) && s.guessed(tool, name, v.Name()) {
					continue
				}
				peers = append(peers, p)
			}
			ours := known(typ, symbols[0])
			if s.count(n.Op().String(), typ, ours, peers, symbols[0]) {
				t.Errorf("%s: %s: value %q: we find only %s; onnx %s, ort %s", name, n, v.Name(), typ, spelled(o.ONNX[v.Name()]), spelled(o.ORT[v.Name()]))
			}
		}
	}
}

func spelled(s *string) string {
	if s == nil {
		return "nothing"
	}
	return *s
}

func TestAgainstPeersOnTests(t *testing.T) {
	var all struct{ Models map[string]oracle }
	readJSON(t, conformance.Shared(t, "conformance/shapes-tests.json.gz"), &all)
	s := score{missed: map[string]int{}, occurred: map[int]bool{}}
	compare := func(name string, files map[string][]byte) {
		against(t, name, read(t, name, files["model.onnx"]), all.Models[name], &s)
	}
	nodeTests(t, compare)
	modelTests(t, compare)
	s.report(t, 16800, func(model string) bool { return strings.Contains(model, "/") })
}

// report says how much is known, and asks for a number of facts that the peers know: that the oracle was read. All of them must be known,
// and every guess about such a model must have been met.
func (s *score) report(t *testing.T, facts int, about func(model string) bool) {
	t.Logf("element types: %s; ranks: %s; sizes: %s; values with all sizes: %s", s.elems, s.ranks, s.sizes, s.values)
	for _, c := range []tally{s.elems, s.ranks, s.sizes, s.values} {
		require.Greater(t, c.theirs, facts)
		require.Equal(t, c.theirs, c.both, "facts that are missing, by operator: %v", s.missed)
	}
	for i, g := range guesses {
		if about(g.model) && !s.occurred[i] {
			t.Errorf("%s no longer guesses %s of %s", g.tool, g.value, g.model)
		}
	}
}

func TestAgainstPeersOnModels(t *testing.T) {
	var all struct{ Models map[string]oracle }
	readJSON(t, conformance.Shared(t, "conformance/shapes-models.json.gz"), &all)
	s := score{missed: map[string]int{}, occurred: map[int]bool{}}
	sharedModels(t, func(name string, m *ir.Model) {
		against(t, name, m, all.Models[name], &s)
	})
	s.report(t, 5700, func(model string) bool { return !strings.Contains(model, "/") })
}
