package cli

import (
	"net/url"
	"path/filepath"

	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/lint"
)

// The parts of SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format) that a list of findings needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
		} `json:"physicalLocation"`
		Logical []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
)

// sarif prints findings as SARIF 2.1.0. A node is a logical location in the model's file.
func (e *env) sarif(r *linted) error {
	rules, err := lint.Rules(r.target)
	if err != nil {
		return err
	}
	run := sarifRun{Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "onnxopt", Version: version()}
	index := map[string]int{}
	for i, x := range rules {
		index[x[0]] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.Target + "/" + x[0], sarifText{x[1]}})
	}
	for _, f := range r.Findings {
		s := sarifResult{RuleID: r.Target + "/" + f.Rule, RuleIndex: index[f.Rule], Level: "warning"}
		if f.Kind == targets.Refused {
			s.Level = "error"
		}
		s.Message.Text = r.Target + place(&f) + ": " + f.Why
		if f.Mend != "" {
			s.Message.Text += "; mend: " + f.Mend
		}
		if f.Source != "" {
			s.Message.Text += "; " + f.Source
		}
		var l sarifLocation
		l.Physical.Artifact.URI = (&url.URL{Path: filepath.ToSlash(r.File)}).EscapedPath()
		if f.Node != "" {
			l.Logical = []sarifLogical{{f.Node, "element"}}
		}
		s.Locations = []sarifLocation{l}
		run.Results = append(run.Results, s)
	}
	return e.json(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}
