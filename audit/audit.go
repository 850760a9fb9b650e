package audit

import (
	"path/filepath"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// File audits the model at path, which is in protobuf. The error says that there is no such file, or that it cannot be opened; a file that
// is no model is a finding. Weights are read once.
func File(path string, o Options) (*Report, error) {
	b, closeFile, err := onnxio.MapFile(path)
	if err != nil {
		return nil, err
	}
	defer closeFile()
	if o.DataDir == "" {
		o.DataDir = filepath.Dir(path)
	}
	var r *Report
	err = onnxio.Guard(func() error {
		r = Bytes(b, o)
		return nil
	})
	return r, err
}

// Bytes audits a model in memory. Without a DataDir its data files are not looked at.
func Bytes(b []byte, o Options) *Report {
	o = o.withDefaults()
	r := newReport(o, int64(len(b)))
	s := &scanner{r: r, fields: messages()}
	s.scan("Model", b)
	r.dataFiles(s.external)
	f, err := onnxio.Read(b, onnxio.Options{DataDir: o.DataDir, DataRoot: o.DataRoot})
	if err != nil {
		if !r.explained() {
			r.add(Unreadable, Danger, "model", "%v", err)
		}
		return r.finish()
	}
	defer f.Close()
	r.model(f.Model)
	return r.finish()
}

// Model audits a model that was read already, from text say: what only a file can hold is not looked at.
func Model(m *ir.Model, o Options) *Report {
	r := newReport(o.withDefaults(), 0)
	r.model(m)
	return r.finish()
}

// explained reports whether findings say already why the reader refuses the file.
func (r *Report) explained() bool {
	return r.counts[External]+r.counts[Path]+r.counts[Unreadable] > 0
}
