// Package audit says what is dangerous, hidden or broken in a model file: paths that lead out of its folder, data that no reader uses, sizes that
// are out of proportion, operators of unknown origin, weights that are no numbers. It never runs a model, and it goes on where a reader
// would stop, so that one report has all there is to say.
package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says how a finding counts.
type Severity string

// The severities. A note alone is no reason to refuse a file.
const (
	Danger Severity = "danger"
	Note   Severity = "note"
)

// Codes of findings.
const (
	Unreadable   = "unreadable"    // the reader refuses the file
	Invalid      = "invalid"       // the model breaks the standard
	Path         = "path"          // external data outside the model's folder, or behind something that is no file
	External     = "external-data" // external data that are missing, too short or overlap
	Hidden       = "hidden-data"   // bytes that no reader uses
	Twice        = "merged-twice"  // a message that stands twice and that readers put together
	Bomb         = "bomb"          // a small file that asks for much memory or time
	Custom       = "custom-op"     // an operator that the standard does not have
	NaN          = "nan-weights"   // constants with NaN
	Infinite     = "inf-weights"   // constants with infinities
	Unused       = "unused-data"   // constants that nothing uses
	Name         = "name"          // names with control or direction-changing characters
	LargeText    = "large-text"    // metadata or documentation of many bytes
	TrainingInfo = "training-info" // graphs that no inference runs
)

// Codes lists the codes of findings in the order of the documentation.
func Codes() []string {
	return []string{Unreadable, Invalid, Path, External, Hidden, Twice, Bomb, Custom, NaN, Infinite, Unused, Name, LargeText, TrainingInfo}
}

// Finding is something in a file that its user should know.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Place    string   `json:"place"` // a path of fields, a node, a tensor or a data file
	Text     string   `json:"text"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", f.Severity, f.Code, f.Place, f.Text)
}

// Report is what an audit found. Its JSON form is stable.
type Report struct {
	Bytes     int64     `json:"bytes"` // of the file, without its data files
	Findings  []Finding `json:"findings"`
	LeftOut   int       `json:"left_out,omitempty"` // further findings beyond Options.Limit of a code
	Dangers   int       `json:"dangers"`
	Notes     int       `json:"notes"`
	DataFiles []string  `json:"data_files"` // that the model refers to
	counts    map[string]int
	o         Options
}

// Options of an audit. The zero value is usable.
type Options struct {
	// DataDir and DataRoot are those of onnxio.Options.
	DataDir, DataRoot string
	// Allow lists codes that are not looked at, and operator domains ("com.microsoft") whose operators are known.
	Allow []string
	// MaxMemory is how many bytes a value may take before it is called a bomb; default 4 GiB. A value that is smaller than a hundred
	// times the file and its data is none.
	MaxMemory int64
	// Limit bounds the findings of one code; default 20.
	Limit int
}

func (o Options) withDefaults() Options {
	o.MaxMemory = cmp.Or(o.MaxMemory, 4<<30)
	o.Limit = cmp.Or(o.Limit, 20)
	return o
}

func newReport(o Options, bytes int64) *Report {
	return &Report{Bytes: bytes, Findings: []Finding{}, DataFiles: []string{}, counts: map[string]int{}, o: o}
}

func (r *Report) add(code string, s Severity, place, format string, a ...any) {
	if slices.Contains(r.o.Allow, code) {
		return
	}
	if s == Danger {
		r.Dangers++
	} else {
		r.Notes++
	}
	r.counts[code]++
	if r.counts[code] > r.o.Limit {
		r.LeftOut++
		return
	}
	r.Findings = append(r.Findings, Finding{code, s, printable(place), printable(fmt.Sprintf(format, a...))})
}

// finish puts dangers first, then the order of codes.
func (r *Report) finish() *Report {
	order := Codes()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(slices.Index(order, a.Code), slices.Index(order, b.Code)))
	})
	return r
}

// printable escapes what could deceive a terminal or its reader, and shortens what is long.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	if strings.IndexFunc(s, deceptive) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if deceptive(c) {
			fmt.Fprintf(&b, `\u{%x}`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// deceptive reports whether c is a control character, changes the direction of text or has no width: what makes a name look like another.
// See Unicode Technical Report 36, section 2.
func deceptive(c rune) bool {
	return c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c >= 0x200b && c <= 0x200f || c >= 0x202a && c <= 0x202e || c >= 0x2060 && c <= 0x2069 || c == 0xfeff || c == 0xfffd
}
