package c

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// Choice is how the code of a layer is written: a value for each of its knobs. A knob that is not named has its default.
type Choice map[string]int

func (c Choice) String() string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		s = append(s, fmt.Sprintf("%s=%d", k, c[k]))
	}
	return strings.Join(s, " ")
}

// Schedule holds the choices for the layers of models. Choices of tiles count for bodies with vectors of Lanes floats, those of fusion for
// all.
type Schedule struct {
	Lanes  int // 16, 8 or 4
	Layers map[string]Choice
	Note   string // where it comes from, for who reads the file
}

type scheduleFile struct {
	Schedule string          `json:"onnxopt_schedule"`
	Version  int             `json:"version"`
	Note     string          `json:"note,omitempty"`
	Lanes    int             `json:"lanes"`
	Layers   []scheduledItem `json:"layers"`
}

type scheduledItem struct {
	Layer  string `json:"layer"`
	Choice Choice `json:"choice"`
}

// Text is the schedule as a file: JSON, a layer a line, in order.
func (s *Schedule) Text() []byte {
	var b bytes.Buffer
	text := func(v any) string {
		t, _ := json.Marshal(v) // of strings and integers
		return string(t)
	}
	fmt.Fprintf(&b, "{\"onnxopt_schedule\": \"c\", \"version\": 1, \"lanes\": %d,\n\"note\": %s,\n\"layers\": [", s.Lanes, text(s.Note))
	for i, k := range slices.Sorted(maps.Keys(s.Layers)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n  {\"layer\": %s, \"choice\": %s}", text(k), text(s.Layers[k]))
	}
	b.WriteString("\n]}\n")
	return b.Bytes()
}

// ParseSchedule reads what Text writes.
func ParseSchedule(data []byte) (*Schedule, error) {
	var f scheduleFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || f.Schedule != name {
		return nil, fmt.Errorf("it is no schedule of target c")
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("it is a schedule of version %d, not 1", f.Version)
	}
	if !slices.Contains(widths(), f.Lanes) {
		return nil, fmt.Errorf("a schedule for vectors of %d floats; they have 16, 8 or 4", f.Lanes)
	}
	s := &Schedule{Lanes: f.Lanes, Layers: map[string]Choice{}, Note: f.Note}
	for _, l := range f.Layers {
		if s.Layers[l.Layer] != nil {
			return nil, fmt.Errorf("layer %q stands there twice", l.Layer)
		}
		s.Layers[l.Layer] = l.Choice
	}
	return s, nil
}

// site is a place where code has choices: a layer, or layers that may become one.
type site struct {
	key     string
	fusion  bool // the choice is which steps there are, not how one is written
	node    string
	values  []*ir.Value // of the layers: what steps write these belong to the site
	lanes   int         // the choice is for bodies of this width
	choice  Choice
	choices []Choice // all that there are, the default, which is full, first
	cost    func(Choice) Features
	work    float64 // multiplications that a fusion is about
}

// pick is the value of a knob in bodies of so many lanes.
func (s *site) pick(lanes int, knob string, standard int) int {
	if s == nil || !s.fusion && lanes != s.lanes {
		return standard
	}
	if v, ok := s.choice[knob]; ok {
		return v
	}
	return standard
}

// site registers a place with choices. The first of them is the default.
func (b *builder) site(key string, fusion bool, values []*ir.Value, choices []Choice, cost func(Choice) Features) *site {
	s := &site{key: key, fusion: fusion, node: targets.NodeName(b.node), values: values, lanes: 16, choices: choices, cost: cost}
	if b.o.Profile == profileMCU {
		return s
	}
	if b.scheduled != nil {
		s.lanes = b.scheduled.Lanes
		if c, ok := b.scheduled.Layers[key]; ok {
			b.used[key] = true
			full := maps.Clone(choices[0])
			maps.Copy(full, c)
			if !slices.ContainsFunc(choices, func(x Choice) bool { return maps.Equal(x, full) }) {
				if b.misfit == nil {
					b.misfit = fmt.Errorf("schedule: layer %q has no such choice as %s", key, c)
				}
				return s
			}
			s.choice = full
		}
	}
	b.sites = append(b.sites, s)
	return s
}

// vector is the width that choices are for.
func (b *builder) vector() int {
	if b.scheduled != nil {
		return b.scheduled.Lanes
	}
	return 16
}

// describe names what follows a layer, for its key.
func (f *fused) describe() string {
	var s []string
	for _, op := range f.ops {
		if op.add != nil {
			s = append(s, "add")
		} else {
			s = append(s, op.act.kind)
		}
	}
	return strings.Join(s, "+")
}

func dims(s []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(s), " ", "x"), "[]") }

// tiling are the numbers that the choices of a tile and their costs follow from.
type tiling struct {
	lanes  int
	groups int // how often all that follows is done
	blocks int // of outputs
	terms  int // of a sum
	inner  int // terms that are unrolled by default
	taps   int // how often the inner terms follow each other in the innermost loop around them
	rows   int // of outputs
	cols   int
	bytes  int  // of an element of the input
	joined bool // several rows may be one tile
	step   int  // the default of blocks
	budget int  // of sums in registers
	order  int  // the default
}

// vectors are those that hold so many blocks.
func (t *tiling) vectors(blocks int) int {
	if t.lanes == 16 {
		return (blocks + 1) / 2
	}
	return blocks * block / t.lanes
}

// standard is the default of the number of pixels of a tile with so many blocks.
func (t *tiling) standard(blocks int) int { return max(t.budget/t.vectors(blocks), 1) }

// cut is how rows and columns become tiles of at most so many pixels.
func (t *tiling) cut(limit int) (rows, cols []run) {
	if t.joined && 2*t.cols <= limit {
		return split(t.rows, limit/t.cols), []run{{0, 1, t.cols}}
	}
	return []run{{0, t.rows, 1}}, split(t.cols, limit)
}

// choices lists what tiles there are: blocks of outputs and pixels as far as registers reach, how many terms are unrolled, and whether
// the loop over outputs is the outer one. Choices that give the same code are left out.
func (t *tiling) choices() []Choice {
	if t.inner > 16 {
		n := 8
		for ; t.inner%n != 0; n-- {
		}
		t.inner, t.taps = n, 1
	}
	first := Choice{"blocks": t.step, "pixels": t.standard(t.step), "unroll": t.inner, "outer": t.order}
	r := []Choice{first}
	room := 14
	if t.lanes == 16 {
		room = 30
	}
	unrolls := []int{t.inner}
	if t.inner%4 == 0 && t.inner > 4 {
		unrolls = append(unrolls, 4)
	}
	if t.taps > 1 && t.inner*t.taps <= 32 {
		unrolls = append(unrolls, t.inner*t.taps)
	}
	sizes := []int{2, 4, 6, 8}
	if t.rows*t.cols == 1 {
		sizes = []int{2, 4, 6, 8, 12, 16}
	}
	for _, blocks := range sizes {
		if blocks > 2 && blocks-1 > t.blocks || t.vectors(blocks) > room {
			break
		}
		most := room / t.vectors(blocks)
		seen := map[string]bool{}
		for pixels := most; pixels >= 1 && pixels*t.vectors(blocks) >= min(4, most); pixels-- {
			rows, cols := t.cut(pixels)
			if cut := fmt.Sprint(rows, cols); seen[cut] && !(blocks == t.step && pixels == first["pixels"]) {
				continue
			} else {
				seen[cut] = true
			}
			for _, unroll := range unrolls {
				for outer := range 2 {
					if outer != t.order && t.blocks <= blocks {
						continue
					}
					c := Choice{"blocks": blocks, "pixels": pixels, "unroll": unroll, "outer": outer}
					if !maps.Equal(c, first) {
						r = append(r, c)
					}
				}
			}
		}
	}
	return r
}
