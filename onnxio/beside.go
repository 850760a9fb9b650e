package onnxio

import (
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// beside is the payload of a tensor whose elements lie in a data file.
type beside struct{ mapped }

var _ keep.External = beside{}

// External makes it a keep.External.
func (b beside) External() (r []ir.Prop) {
	for f := range wire.Fields(b.body) {
		if f.Num == tensorExternal && f.IsBytes() {
			if k, v, err := entry(f.Body); err == nil { // it was checked on reading
				r = append(r, ir.Prop{Key: k, Value: v})
			}
		}
	}
	return r
}

// DataFiles opens the data files of a model that does not come in protobuf, such as one in textual syntax. The rules are those
// of Open; DataDir and DataRoot of the options apply.
type DataFiles struct{ rd *reader }

// NewDataFiles opens nothing yet.
func NewDataFiles(o Options) *DataFiles { return &DataFiles{&reader{o: o, files: newDataFiles(o)}} }

// Payload finds the elements of a tensor by the properties that external_data has. Weights are not loaded.
func (d *DataFiles) Payload(dtype ir.DType, shape []int64, props []ir.Prop) (ir.Payload, error) {
	h := &header{}
	for _, p := range props {
		h.setLocation(p.Key, p.Value)
	}
	r := &record{dtype: dtype, count: ir.NumElements(shape)}
	if err := d.rd.external(r, h); err != nil {
		return nil, err
	}
	return foreign{mapped{r}, props}, nil
}

// Attach makes the files those of m, the model that the payloads are in: writing m then treats them as it does those of a model
// that was read from protobuf.
func (d *DataFiles) Attach(m *ir.Model) { m.Extra = &modelExtra{src: &source{}, data: d.rd.files} }

// Close unmaps the files. The elements cannot be read afterwards.
func (d *DataFiles) Close() error { return d.rd.files.close() }

// foreign is a payload in a data file that no TensorProto was read for: its record has no source bytes.
type foreign struct {
	mapped
	props []ir.Prop
}

// External makes it a keep.External.
func (f foreign) External() []ir.Prop { return f.props }

// Stat is the size of the data file of that name, which is opened; the rules are those of Open.
func (d *DataFiles) Stat(name string) (int64, error) {
	if err := checkLocation(name); err != nil {
		return 0, err
	}
	s, err := d.rd.files.get(name)
	if err != nil {
		return 0, err
	}
	return s.size, nil
}

// CheckLocation reports why a location that external_data states cannot be below the model's folder; links are not looked at.
func CheckLocation(name string) error { return checkLocation(name) }
