package ort

import (
	"regexp"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Error is an error of the library in its own words. It wraps what the words mean to callers of package engine: an
// *engine.UnsupportedError, an *engine.NodeError, engine.ErrMemory.
type Error struct {
	Code  int // OrtErrorCode
	Text  string
	cause error
}

func (e *Error) Error() string { return "ONNX Runtime: " + e.Text }

func (e *Error) Unwrap() error { return e.cause }

// They are compiled when there is an error, not in every process.
var (
	noKernel   = lazily(`(?:Could not find an implementation for|Failed to find kernel for) ([\w.:]+)\(\d+\)`)
	notInOpset = lazily(`In Node, \(".*?", (\w+), "([\w.]*)", -?\d+\).*No Op registered for`)
	notAnOp    = lazily(`([\w.:]+)\(-?\d+\) is not a registered function/op`)
	whileInRun = lazily(`(?s)while running (\w+) node\. Name:'(.*?)' Status Message: (.*)`)
)

func lazily(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

// causeOf reads from the library's text what callers can act upon. The texts are those of versions 1.17 to 1.32; of an
// unknown one only the text remains.
func causeOf(text string) error {
	if m := whileInRun().FindStringSubmatch(text); m != nil {
		err := memoryError(m[3])
		if err == nil {
			err = plain(m[3])
		}
		return &engine.NodeError{Name: m[2], Op: ir.Op(m[1]), Err: err}
	}
	if m := notInOpset().FindStringSubmatch(text); m != nil {
		return &engine.UnsupportedError{Ops: []ir.OpID{{Domain: ir.Domain(m[2]), Type: m[1]}}}
	}
	for _, re := range []func() *regexp.Regexp{noKernel, notAnOp} {
		if m := re().FindStringSubmatch(text); m != nil {
			return &engine.UnsupportedError{Ops: []ir.OpID{operator(m[1])}}
		}
	}
	return memoryError(text)
}

// memoryError is engine.ErrMemory if the text says that an arena is full.
func memoryError(text string) error {
	if strings.Contains(text, "Available memory of") || strings.Contains(text, "Failed to allocate memory") {
		return engine.ErrMemory
	}
	return nil
}

// operator parses "domain:Type", "domain.Type" and "Type".
func operator(s string) ir.OpID {
	i := strings.LastIndexAny(s, ":.")
	if i < 0 {
		return ir.Op(s)
	}
	return ir.OpID{Domain: ir.Domain(s[:i]), Type: s[i+1:]}
}

// plain is an error of fixed text.
type plain string

func (p plain) Error() string { return string(p) }
