package tune

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/passes"
)

// Names of what is measured of a candidate besides the metric.
const (
	Size       = "size"       // bytes of the model with all weights
	Parameters = "parameters" // elements of constants
	MACs       = "macs"       // multiply-accumulates of a run
	Memory     = "memory"     // bytes of activations alive at the worst moment
	Latency    = "latency"    // milliseconds of a run, the median
	P95        = "p95"        // milliseconds of a run, 95 of 100 are below
	Throughput = "throughput" // samples a second
)

// Objectives lists what may be asked for.
func Objectives() []string {
	return []string{Latency, P95, Throughput, Size, Parameters, MACs, Memory}
}

// Timed reports whether an objective is a time, which is measured or modelled and not counted.
func Timed(name string) bool { return name == Latency || name == P95 || name == Throughput }

// growing objectives are better the larger they are.
func growing(name string) bool { return name == Throughput }

// Drop is the condition on the metric in points of it: how much may be lost.
const Drop = "drop"

// Condition is a bound: what a candidate must reach.
type Condition struct {
	Text  string
	What  string // an objective, Drop, or the name of the metric
	Most  bool   // at most Bound, not at least
	Bound float64
	// Share says that the bound is a share of the original's value.
	Share bool
}

// ParseCondition reads 'latency<=60%', 'size<=200k', 'latency<=3ms', 'drop<=1.0' or 'agreement>=0.98'. Floors are conditions on the metric
// and on what is lost of it, goals those on objectives.
func ParseCondition(text string, floor bool) (Condition, error) {
	c := Condition{Text: text, Most: true}
	name, bound, ok := strings.Cut(text, "<=")
	if !ok {
		c.Most = false
		if name, bound, ok = strings.Cut(text, ">="); !ok {
			return c, fmt.Errorf("%q has neither <= nor >=; for example 'latency<=60%%' or 'drop<=1.0'", text)
		}
	}
	c.What, bound = strings.TrimSpace(name), strings.TrimSpace(bound)
	known := Objectives()
	if floor {
		known = append([]string{Drop}, metric.Names()...)
	}
	if !slices.Contains(known, c.What) {
		return c, fmt.Errorf("%q is none of %s%s", c.What, strings.Join(known, ", "), spell.Hint(c.What, known))
	}
	if most := c.What == Drop || c.What == "mse" || !floor && !growing(c.What); c.Most != most {
		return c, fmt.Errorf("%q: %s is bound by %s", text, c.What, map[bool]string{true: "<=", false: ">="}[most])
	}
	return c, c.number(bound, floor)
}

// number reads the bound.
func (c *Condition) number(bound string, floor bool) error {
	if s, ok := strings.CutSuffix(bound, "%"); ok && (!floor || c.What == Drop) {
		c.Share = !floor
		bound = strings.TrimSpace(s)
	}
	var err error
	switch s, ms := strings.CutSuffix(bound, "ms"); {
	case ms && (c.What == Latency || c.What == P95):
		c.Bound, err = strconv.ParseFloat(strings.TrimSpace(s), 64)
	case (c.What == Size || c.What == Memory) && !c.Share:
		var z passes.Size
		err = z.UnmarshalText([]byte(bound))
		c.Bound = float64(z)
	default:
		scale := 1.0
		if !floor && !c.Share && bound != "" {
			if i := strings.IndexByte("kMG", bound[len(bound)-1]); i >= 0 {
				scale, bound = math.Pow(1000, float64(i+1)), bound[:len(bound)-1]
			}
		}
		c.Bound, err = strconv.ParseFloat(bound, 64)
		c.Bound *= scale
	}
	if c.Share {
		c.Bound /= 100
	}
	if err != nil || math.IsNaN(c.Bound) || math.IsInf(c.Bound, 0) || c.Bound < 0 {
		return fmt.Errorf("%q: %q is no number that fits", c.Text, bound)
	}
	return nil
}

// Goal is what a search is for.
type Goal struct {
	Objectives []string    // to be lowered (Throughput: raised), the first before the others
	Floors     []Condition // on the metric
	Limits     []Condition // on objectives
	Metric     string
}

// Values are what was measured of a candidate, by objective, and "quality", the metric.
type Values map[string]float64

// Quality is the name of the metric's value among Values.
const Quality = "quality"

// loss is what a candidate lost of the metric, in points: a hundred for all of one that ends at one.
func (g *Goal) loss(base, v Values) float64 {
	d := 100 * (base[Quality] - v[Quality])
	if !metric.HigherIsBetter(g.Metric) {
		d = -d
	}
	return d
}

// miss is how far a value lies beyond a condition; 0: it holds. It is in points for the metric and a share of the bound for the rest.
func (g *Goal) miss(c Condition, base, v Values) float64 {
	switch {
	case c.What == Drop:
		return math.Max(0, g.loss(base, v)-c.Bound)
	case c.What == g.Metric && c.What != Size:
		d := 100 * (c.Bound - v[Quality])
		if c.Most {
			d = -d
		}
		return math.Max(0, d)
	}
	bound := c.Bound
	if c.Share {
		bound *= base[c.What]
	}
	x, ok := v[c.What]
	if !ok {
		return 0
	}
	d := (x - bound) / math.Max(bound, 1e-12)
	if !c.Most {
		d = -d
	}
	return math.Max(0, d)
}

// Floored is by how many points the floors are missed together, and Limited by what share the limits are.
func (g *Goal) Floored(base, v Values) (r float64) {
	for _, c := range g.Floors {
		r += g.miss(c, base, v)
	}
	return r
}

// Limited is by what share the limits on objectives are missed, summed up.
func (g *Goal) Limited(base, v Values) (r float64) {
	for _, c := range g.Limits {
		r += g.miss(c, base, v)
	}
	return r
}

// Met reports whether all conditions hold.
func (g *Goal) Met(base, v Values) bool { return g.Floored(base, v) == 0 && g.Limited(base, v) == 0 }

// share is the objective as a share of the original's, lower is better.
func share(name string, base, v Values) float64 {
	a, b := v[name], base[name]
	if growing(name) {
		a, b = b, a
	}
	if b == 0 {
		if a == 0 {
			return 1
		}
		return math.Inf(1)
	}
	return a / b
}

// weight is the mean of the logarithms of the objectives' shares: what greedy steps lower. The first objective counts double.
func (g *Goal) weight(base, v Values) float64 {
	sum, n := 0.0, 0.0
	for i, o := range g.Objectives {
		w := 1.0
		if i == 0 {
			w = 2
		}
		sum += w * math.Log(math.Max(share(o, base, v), 1e-9))
		n += w
	}
	return sum / n
}

// axes are what a front is over: the objectives and the loss, all to be low.
func (g *Goal) axes(base, v Values) []float64 {
	r := make([]float64, 0, len(g.Objectives)+1)
	for _, o := range g.Objectives {
		r = append(r, share(o, base, v))
	}
	return append(r, g.loss(base, v))
}

// dominates reports whether a is nowhere worse than b and somewhere better.
func dominates(a, b []float64) bool {
	better := false
	for i := range a {
		if a[i] > b[i] {
			return false
		}
		better = better || a[i] < b[i]
	}
	return better
}
