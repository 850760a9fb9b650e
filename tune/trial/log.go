// Package trial keeps what was tried and what it gave, and runs trials as processes within bounds.
//
// A search that measures costs minutes, is interrupted, and is run again with a little more to look at. So every trial goes to a log of JSON
// lines before the next one begins, under a key that is a hash of all that the result depends on; a trial that the log holds is not run
// again. The form is that of TVM's tuning records (Chen et al., "Learning to Optimize Tensor Programs", 2018): one line a trial, appended
// to, so that logs can be joined with cat.
package trial

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
)

// Record is one trial.
type Record struct {
	Key     string             `json:"key"`               // of what was tried, by Key
	Kind    string             `json:"kind"`              // what sort of trial it is; the owner's word
	Params  json.RawMessage    `json:"params,omitempty"`  // what was tried, for whoever reads or learns from the log
	Metrics map[string]float64 `json:"metrics,omitempty"` // what it gave, finite
	Err     string             `json:"err,omitempty"`     // why it gave nothing: such a trial counts as tried
	Seconds float64            `json:"seconds"`           // what it cost
	Machine string             `json:"machine,omitempty"` // where, as Machine says, if that matters
}

// ErrLocked says that another writer has the log.
var ErrLocked = errors.New("another run is writing to it")

// header is the first line of a log. It keeps a log from being appended to some other file.
const header = `{"onnxopt":"trial log","version":1}` + "\n"

// maxLine bounds one record.
const maxLine = 16 << 20

// Log is a file of records. It may be used by several goroutines.
type Log struct {
	mu    sync.Mutex
	path  string
	f     *os.File // nil: for reading alone
	end   int64
	order []string
	byKey map[string]Record
}

// Open opens a log for reading and writing, and makes one where there is none. The last line is dropped where a run was cut off while
// writing it; any other line that is no record is an error that names it. While a log is open nobody else can open it: they get
// ErrLocked. File systems without locks are used without.
func Open(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path, f: f}
	if err := lock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := l.start(); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) start() error {
	data, err := io.ReadAll(l.f)
	if err != nil {
		return err
	}
	if l.end, err = l.parse(data); err != nil {
		return err
	}
	if l.end < int64(len(data)) {
		if err := l.f.Truncate(l.end); err != nil {
			return err
		}
	}
	if l.end == 0 {
		return l.append([]byte(header))
	}
	return nil
}

// Read reads a log that others may be writing to, as it is now. Put is an error.
func Read(path string) (*Log, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path}
	if l.end, err = l.parse(data); err != nil {
		return nil, err
	}
	return l, nil
}

// parse takes the records of a file and says where the last whole line ends. A header may come again, where logs were joined.
func (l *Log) parse(data []byte) (int64, error) {
	l.byKey = map[string]Record{}
	end := int64(0)
	for n := 1; ; n++ {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			if torn := data[end:]; n == 1 && !bytes.HasPrefix([]byte(header), torn) {
				return 0, fmt.Errorf("%s is not a trial log", l.path)
			}
			return end, nil
		}
		line := data[end : end+int64(i)]
		switch {
		case bytes.Equal(bytes.TrimRight(line, "\r"), []byte(header[:len(header)-1])):
		case n == 1:
			return 0, fmt.Errorf("%s is not a trial log of this version", l.path)
		case len(bytes.TrimSpace(line)) == 0:
		default:
			var r Record
			if err := json.Unmarshal(line, &r); err != nil || r.Key == "" {
				return 0, fmt.Errorf("%s:%d is not a record", l.path, n)
			}
			l.add(r)
		}
		end += int64(i) + 1
	}
}

func (l *Log) add(r Record) {
	if _, ok := l.byKey[r.Key]; !ok {
		l.order = append(l.order, r.Key)
	}
	l.byKey[r.Key] = r
}

func (l *Log) append(line []byte) error {
	if _, err := l.f.WriteAt(line, l.end); err != nil {
		return errors.Join(err, l.f.Truncate(l.end))
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	l.end += int64(len(line))
	return nil
}

// Get returns the record of a key; the last one counts.
func (l *Log) Get(key string) (Record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.byKey[key]
	return r, ok
}

// Put adds a record. When it returns, the record is on the disk.
func (l *Log) Put(r Record) error {
	if r.Key == "" {
		return errors.New("trial: a record without a key")
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("trial: record %s: %w", r.Key, err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("trial: record %s takes %d bytes, more than %d", r.Key, len(line), maxLine)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return fmt.Errorf("%s was opened for reading", l.path)
	}
	if err := l.append(append(line, '\n')); err != nil {
		return err
	}
	l.add(r)
	return nil
}

// Len counts the keys.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.order)
}

// Each yields the records as they are now, one a key, in the order in which the keys first came.
func (l *Log) Each() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		l.mu.Lock()
		records := make([]Record, 0, len(l.order))
		for _, k := range l.order {
			records = append(records, l.byKey[k])
		}
		l.mu.Unlock()
		for _, r := range records {
			if !yield(r) {
				return
			}
		}
	}
}

// Close lets others write.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}

// Key hashes what a trial depends on. Each part is taken as JSON with the members of objects in order, so that a struct and a map with the
// same contents have the same key. It panics on what has no JSON form, which is the caller's mistake.
func Key(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(canonical(p))
		h.Write([]byte{'\n'}) // JSON written this way has none
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func canonical(v any) []byte {
	data, err := json.Marshal(v)
	if err == nil {
		var plain any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err = d.Decode(&plain); err == nil {
			data, err = json.Marshal(plain)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("trial: %T has no JSON form: %v", v, err))
	}
	return data
}
