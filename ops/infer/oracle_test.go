package infer_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/stretchr/testify/require"
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

// contradiction says how t and what the oracle found cannot both be true, "" if they can.
func contradiction(t *ir.Type, p parsed) string {
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
		if n, err := strconv.ParseInt(p.dims[i], 10, 64); err == nil && n >= 0 && d.IsStatic() && d.Size != n {
			return fmt.Sprintf("dimension %d", i)
		}
	}
	return ""
}

// tally counts facts: element types, ranks and sizes that are numbers.
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

type score struct{ elems, ranks, sizes tally }

// count adds what is known of one value to s; missed reports whether we know less.
func (s *score) count(t *ir.Type, peers []parsed) (missed bool) {
	var elem, rank bool
	static := map[int]bool{}
	for _, p := range peers {
		elem = true
		rank = rank || p.ranked
		for i, d := range p.dims {
			if n, err := strconv.Atoi(d); err == nil && n >= 0 {
				static[i] = true
			}
		}
	}
	_, u := inner(t)
	s.elems.add(elem, u.DType() != ir.Undefined)
	s.ranks.add(rank, u.TensorShape() != nil)
	missed = elem && u.DType() == ir.Undefined || rank && u.TensorShape() == nil
	for i := range max(len(u.TensorShape()), len(static)) {
		ours := i < len(u.TensorShape()) && u.TensorShape()[i].IsStatic()
		s.sizes.add(static[i], ours)
		missed = missed || static[i] && !ours
	}
	return missed
}

// wrong reports whether a peer is known to be wrong about a test: ONNX Runtime's script takes a ReduceMean whose axes are computed for one
// that reduces nothing, and a Split whose sizes are computed for one into equal parts, and a Squeeze whose
// axes are not known for one without. The tests' recorded outputs agree with us.
func wrong(tool, test string) bool {
	return tool == "ort" && (test == "node/test_squeeze_negative_axes" || strings.HasSuffix(test, "_expanded") &&
		(strings.HasPrefix(test, "node/test_rms_normalization_") || strings.HasPrefix(test, "node/test_rotary_embedding_")))
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
				if why := contradiction(typ, p); why != "" {
					if !disputed(o, v.Name()) && !wrong(tool, name) {
						t.Errorf("%s: value %q: %s: %s finds %s, we find %s (%s)", name, v.Name(), n, tool, *found[v.Name()], typ, why)
					}
					continue
				}
				peers = append(peers, p)
			}
			if s.count(typ, peers) {
				t.Logf("%s: %s: value %q: we find only %s; onnx %s, ort %s", name, n, v.Name(), typ, spelled(o.ONNX[v.Name()]), spelled(o.ORT[v.Name()]))
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
	readJSON(t, shared(t, "conformance/shapes-tests.json.gz"), &all)
	var s score
	compare := func(name string, files map[string][]byte) {
		against(t, name, read(t, name, files["model.onnx"]), all.Models[name], &s)
	}
	nodeTests(t, compare)
	modelTests(t, compare)
	t.Logf("element types: %s; ranks: %s; sizes: %s", s.elems, s.ranks, s.sizes)
	s.atLeast(t, 18000, 0.999)
}

// atLeast asks for a number of facts that the peers know, and for a share of them that we know.
func (s *score) atLeast(t *testing.T, facts int, share float64) {
	for _, c := range []tally{s.elems, s.ranks, s.sizes} {
		require.Greater(t, c.theirs, facts)
		require.GreaterOrEqual(t, float64(c.both)/float64(c.theirs), share)
	}
}

func TestAgainstPeersOnModels(t *testing.T) {
	var all struct{ Models map[string]oracle }
	readJSON(t, shared(t, "conformance/shapes-models.json.gz"), &all)
	var s score
	sharedModels(t, func(name string, m *ir.Model) {
		against(t, name, m, all.Models[name], &s)
	})
	t.Logf("element types: %s; ranks: %s; sizes: %s", s.elems, s.ranks, s.sizes)
	s.atLeast(t, 6500, 0.9995)
	require.Equal(t, s.sizes.theirs, s.sizes.both)
}
