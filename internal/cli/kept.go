package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// partial is the end of the name of a checkpoint, which stands beside the file that it is to become.
const partial = ".part"

// checkpoint is a file that holds the state of a calibration.
type checkpoint string

// checkpoint is that of --calib-out, nil without it.
func (j *job) checkpoint() measured.Checkpoint {
	if j.f.calib.out == "" {
		return nil
	}
	return checkpoint(j.f.calib.out + partial)
}

// stopped is the error of an interrupted run, which says so where a calibration can be taken up.
func (j *job) stopped(err error) error {
	if j.f.calib.out == "" {
		return err
	}
	if _, missing := os.Stat(j.f.calib.out + partial); missing != nil {
		return err
	}
	return &stoppedError{fmt.Sprintf("interrupted; the calibration so far is in %s, and the same command goes on", j.f.calib.out+partial)}
}

// Load implements measured.Checkpoint.
func (c checkpoint) Load() ([]byte, error) {
	b, err := os.ReadFile(string(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Save implements measured.Checkpoint.
func (c checkpoint) Save(contents []byte) error {
	return atomically(string(c), func(w io.Writer) error { _, err := w.Write(contents); return err })
}

// measurements are those of --cache: a log of trials, under keys that hold the program and the engine besides.
type measurements struct {
	log *trial.Log
	// program and engine are part of every key: another build or library may compute otherwise.
	program, engine string
}

// mostKept is the size of a log from which on it is begun anew.
const mostKept = 32 << 20

// measurements opens the log. Without --cache a folder that cannot be written is no error: then nothing is kept.
func (f *calibFlags) measurements(e engine.Engine) (*measurements, error) {
	dir, asked := f.cache, f.cache != ""
	if dir == "none" {
		return nil, nil
	}
	if !asked {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, nil
		}
		dir = filepath.Join(base, "onnxopt")
	}
	m, err := openMeasurements(dir, e)
	switch {
	case err == nil:
		return m, nil
	case !asked || errors.Is(err, trial.ErrLocked): // another run keeps what it finds
		return nil, nil
	}
	return nil, &fileError{dir, err}
}

func openMeasurements(dir string, e engine.Engine) (*measurements, error) {
	program, err := thisProgram()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "divergences.jsonl")
	if st, err := os.Stat(path); err == nil && st.Size() > mostKept {
		os.Remove(path)
	}
	log, err := trial.Open(path)
	if err != nil {
		return nil, err
	}
	m := &measurements{log: log, program: program, engine: e.Name()}
	if x, ok := e.(*ort.Engine); ok {
		m.engine += " " + x.Info().Version
	}
	return m, nil
}

// store is what passes see of it; nil for none.
func (m *measurements) store() measured.Store {
	if m == nil {
		return nil
	}
	return m
}

func (m *measurements) key(key string) string {
	return trial.Key("divergence", m.program, m.engine, trial.Machine(), key)
}

// Get implements measured.Store.
func (m *measurements) Get(key string) []byte {
	r, ok := m.log.Get(m.key(key))
	if !ok {
		return nil
	}
	return r.Params
}

// Put implements measured.Store. What cannot be kept is found out again by the next run.
func (m *measurements) Put(key string, contents []byte) {
	_ = m.log.Put(trial.Record{Key: m.key(key), Kind: "divergence", Params: json.RawMessage(contents)})
}

func (m *measurements) close() {
	if m != nil {
		m.log.Close()
	}
}
