// Package queue says how work is handed to other machines, so that a machine that goes away loses nothing. Package jet does it through NATS
// JetStream; it stands apart because its dependencies take time to initialize, which the command should not where it needs none of this.
//
// Work is for a class of workers. A class is a set of labels; a worker takes work of every class whose labels it has. Each result is kept
// under a hash of the work, once. Work of a worker that vanished is handed to another one. What failed three times is parked with all that
// is needed to try it again.
package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Attempts is how often work is tried before it is parked.
const Attempts = 3

// ErrGone says that the server cannot be reached.
var ErrGone = errors.New("the NATS server cannot be reached")

// Options say where the server is.
type Options struct {
	URL                    string
	Creds                  string // file of credentials (JWT and seed); "": none
	TLSCA, TLSCert, TLSKey string // files; "": none
	// Tries bounds how often a connection is tried, at first and when it was lost, once every Pause. 0: 10, a second.
	Tries int
	Pause time.Duration
	// AckWait is after how much silence of a worker its work is handed to another; 0: 30 seconds.
	AckWait time.Duration
	// Name of this side, for the server's monitoring.
	Name string
}

// Queue is a connection.
type Queue interface {
	// Put stores an object, unless it is there: its name is a hash of its contents.
	Put(ctx context.Context, name string, write func(io.Writer) error) error
	// Get reads an object.
	Get(ctx context.Context, name string, read func(io.Reader) error) error
	// Wait puts jobs into the queue and hands over the result of each as it comes, those first that are known already. quiet is called now and
	// then while work waits for a class that no worker asks for; it may be nil.
	Wait(ctx context.Context, jobs []Job, each func(i int, r Result) error, quiet func(class string)) error
	// Work takes work until the context ends or the server is gone. Work of classes with more labels goes first.
	Work(ctx context.Context, w Worker) error
	// Parked lists the work that was given up.
	Parked(ctx context.Context) ([]Parked, error)
	Close()
}

// Work is what a worker is to do.
type Work struct {
	Hash string `json:"hash"` // of all that the result depends on
	// Objects are names in the object store.
	Objects map[string]string `json:"objects,omitempty"`
	Study   json.RawMessage   `json:"study,omitempty"` // what many have in common
	Trial   json.RawMessage   `json:"trial"`
}

// Job is work for a class of workers.
type Job struct {
	Work   Work
	Labels map[string]string
}

// Result is what came of work.
type Result struct {
	Value  json.RawMessage `json:"value,omitempty"`
	Err    string          `json:"err,omitempty"` // why it was parked
	Worker string          `json:"worker"`
}

// Parked is work that failed again and again.
type Parked struct {
	Work    Work      `json:"work"`
	Class   string    `json:"class"`
	Reasons []string  `json:"reasons"` // by attempt; "" of a worker that vanished
	At      time.Time `json:"at"`
	GivenUp bool      `json:"given_up"` // false: an attempt failed, others may follow
}

// Worker takes work.
type Worker struct {
	Name   string
	Labels map[string]string
	// Do does it. An error counts as a failed attempt; what a candidate itself does wrong belongs into the value.
	Do func(ctx context.Context, w Work) (json.RawMessage, error)
	// Limit bounds an attempt; 0: an hour.
	Limit time.Duration
	// Told is told of what happens; may be nil.
	Told func(format string, a ...any)
}

// Class is the name of the class of workers that have labels, "any" for none.
func Class(labels map[string]string) string {
	if len(labels) == 0 {
		return "any"
	}
	text := LabelText(labels)
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-':
			return r
		case r == ',':
			return '_'
		}
		return '-'
	}, text)
	sum := sha256.Sum256([]byte(text))
	return name[:min(len(name), 60)] + "_" + hex.EncodeToString(sum[:4])
}

// LabelText is the labels as text, in order.
func LabelText(labels map[string]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, k+"="+labels[k])
	}
	return strings.Join(words, ",")
}

// ParseLabels reads key=value pairs.
func ParseLabels(list []string) (map[string]string, error) {
	r := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" || v == "" || strings.ContainsAny(s, ", \t\n") {
			return nil, fmt.Errorf("%q is no label; one is like arch=arm64", s)
		}
		if old, twice := r[k]; twice && old != v {
			return nil, fmt.Errorf("label %s is both %s and %s", k, old, v)
		}
		r[k] = v
	}
	return r, nil
}
