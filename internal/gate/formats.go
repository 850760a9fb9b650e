package gate

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"slices"
)

// JUnit writes the outcomes as JUnit XML, a suite for each model: https://github.com/testmoapp/junitxml.
func (r *Result) JUnit(w io.Writer) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		File    string   `xml:"file,attr"`
		Failure *failure `xml:"failure,omitempty"`
		Skipped *failure `xml:"skipped,omitempty"`
		Out     string   `xml:"system-out,omitempty"`
	}
	type suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	type suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Suites   []*suite `xml:"testsuite"`
	}
	all := suites{Name: "onnxopt check"}
	byModel := map[string]*suite{}
	for _, o := range r.Outcomes {
		s := byModel[o.Model]
		if s == nil {
			s = &suite{Name: o.Model}
			byModel[o.Model] = s
			all.Suites = append(all.Suites, s)
		}
		t := testcase{Name: o.Rule, Class: o.Model, File: o.Model}
		if o.Node != "" {
			t.Name += ": " + o.Node
		}
		switch o.State {
		case Violated:
			t.Failure = &failure{o.Text, o.Rule, o.Text}
			s.Failures++
			all.Failures++
		case Known:
			t.Skipped = &failure{"known: " + o.Text, o.Rule, ""}
			s.Skipped++
		default:
			t.Out = o.Text
		}
		s.Tests++
		all.Tests++
		s.Cases = append(s.Cases, t)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// rules say what the rules of a budget are, for SARIF.
func ruleText(id string) string {
	for _, r := range [][2]string{
		{"max-bytes", "The file and its data files stay within the budget."},
		{"max-nodes", "The number of nodes stays within the budget."},
		{"max-parameters", "The number of parameters stays within the budget."},
		{"max-macs", "The number of multiply-accumulates of one run stays within the budget."},
		{"max-activation", "The memory of values alive at once stays within the budget."},
		{"allowed-ops", "Only allowed operators are used."},
		{"denied-ops", "No denied operator is used."},
		{"opset", "The operator set lies in the range."},
		{"ir-version", "The IR version lies in the range."},
		{"max-drift", "Outputs stay close to those of the original."},
		{"audit", "The file holds nothing dangerous."},
	} {
		if r[0] == id {
			return r[1]
		}
	}
	if len(id) > 7 && id[:7] == "target-" {
		return "The target " + id[7:] + " can run every node."
	}
	return "The number grows no more over the baseline than is allowed."
}

// SARIF writes the violations as SARIF 2.1.0 (OASIS), which code hosts show beside the files. Known ones are suppressed.
func (r *Result) SARIF(w io.Writer, version string) error {
	type message struct {
		Text string `json:"text"`
	}
	type m = map[string]any
	var ids []string
	results := []m{}
	for _, o := range r.Outcomes {
		if o.State == OK {
			continue
		}
		if !slices.Contains(ids, o.Rule) {
			ids = append(ids, o.Rule)
		}
		location := m{"physicalLocation": m{"artifactLocation": m{"uri": (&url.URL{Path: o.Model}).String()}}}
		if o.Node != "" {
			location["logicalLocations"] = []m{{"name": o.Node, "kind": "element"}}
		}
		x := m{"ruleId": o.Rule, "ruleIndex": slices.Index(ids, o.Rule), "level": "error", "message": message{o.Text}, "locations": []m{location},
			"partialFingerprints": m{"onnxopt/v1": fmt.Sprintf("%s|%s|%s", o.Model, o.Rule, o.Node)}}
		if o.State == Known {
			x["suppressions"] = []m{{"kind": "external", "justification": "in the baseline"}}
		}
		results = append(results, x)
	}
	rules := []m{}
	for _, id := range ids {
		rules = append(rules, m{"id": id, "shortDescription": message{ruleText(id)}})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(m{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []m{{
			"tool":    m{"driver": m{"name": "onnxopt", "version": version, "informationUri": "https://github.com/onnxopt/onnxopt", "rules": rules}},
			"results": results,
		}},
	})
}
