package onnxio

import (
	"strconv"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// beside is the payload of a tensor whose elements lie in a data file.
type beside struct{ mapped }

var _ keep.External = beside{}

// External makes it a keep.External.
func (b beside) External() []ir.Prop {
	return []ir.Prop{
		{Key: "location", Value: b.ext.name},
		{Key: "offset", Value: strconv.FormatInt(b.ext.offset, 10)},
		{Key: "length", Value: strconv.Itoa(len(b.data))},
	}
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
		if h.location == nil {
			h.location = map[string]string{}
		}
		h.location[p.Key] = p.Value
	}
	r := &record{dtype: dtype, count: ir.NumElements(shape)}
	if err := d.rd.external(r, h); err != nil {
		return nil, err
	}
	return foreign{r, props}, nil
}

// Close unmaps the files. The elements cannot be read afterwards.
func (d *DataFiles) Close() error { return d.rd.files.close() }

// foreign is a payload in a data file that no TensorProto was read for: it has no source bytes.
type foreign struct {
	r     *record
	props []ir.Prop
}

var _ keep.External = foreign{}

func (f foreign) Bytes() ([]byte, error)     { return f.r.Bytes() }
func (f foreign) Strings() ([]string, error) { return f.r.Strings() }

// Uncached tells ir not to keep the bytes.
func (foreign) Uncached() {}

// External makes it a keep.External.
func (f foreign) External() []ir.Prop { return f.props }
