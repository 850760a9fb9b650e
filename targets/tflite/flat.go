package tflite

import (
	flatbuffers "github.com/google/flatbuffers/go"
)

// file is a TensorFlow Lite model with one subgraph.
type file struct {
	description string
	tensors     []*tensor
	ops         []*operation
	inputs      []port
	outputs     []port
	metadata    []entry
	layouts     []layoutNote
}

// tensor is a value of the file.
type tensor struct {
	name  string
	shape []int
	typ   elementType
	data  []byte // of a constant; nil: it is computed
	quant *quant
	index int

	reshapes *tensor // it is this one with another shape
}

// quant says what integers stand for: scale*(q-zero), for each slice along axis if there are several scales.
type quant struct {
	scale []float32
	zero  []int64
	axis  int
}

// operation is an operator with its operands; nil stands for one that is omitted.
type operation struct {
	code    opcode
	version int32
	in, out []*tensor
	options options
}

// port is an input or output by its name in the signature.
type port struct {
	name   string
	tensor *tensor
}

type entry struct {
	name string
	data []byte
}

// identifier of TensorFlow Lite files.
const identifier = "TFL3"

// bytes is the file in the form of the schema.
func (f *file) bytes() []byte {
	size := 1 << 16
	for _, t := range f.tensors {
		size += len(t.data) + 256
	}
	w := &writer{Builder: flatbuffers.NewBuilder(size)}
	return w.file(f)
}

type writer struct{ *flatbuffers.Builder }

type offset = flatbuffers.UOffsetT

// table writes a table of the fields that f adds; n is the number of slots.
func (w *writer) table(n int, f func()) offset {
	w.StartObject(n)
	f()
	return w.EndObject()
}

func (w *writer) ref(slot int, o offset) {
	if o != 0 {
		w.PrependUOffsetTSlot(slot, o, 0)
	}
}

// offsets is a vector of tables, which are written already.
func (w *writer) offsets(list []offset) offset {
	w.StartVector(4, len(list), 4)
	for i := len(list) - 1; i >= 0; i-- {
		w.PrependUOffsetT(list[i])
	}
	return w.EndVector(len(list))
}

func (w *writer) ints(list []int) offset {
	w.StartVector(4, len(list), 4)
	for i := len(list) - 1; i >= 0; i-- {
		w.PrependInt32(int32(list[i]))
	}
	return w.EndVector(len(list))
}

func (w *writer) file(f *file) []byte {
	// Buffers: the first is empty, as the schema asks; then constants, then metadata.
	buffers := []offset{w.buffer(nil)}
	where := make([]int, len(f.tensors))
	for i, t := range f.tensors {
		t.index = i
		if t.data != nil {
			where[i] = len(buffers)
			buffers = append(buffers, w.buffer(t.data))
		}
	}
	var meta []offset
	for _, e := range f.metadata {
		name := w.CreateString(e.name)
		at := uint32(len(buffers))
		buffers = append(buffers, w.buffer(e.data))
		meta = append(meta, w.table(2, func() {
			w.ref(0, name)
			w.PrependUint32Slot(1, at, 0)
		}))
	}
	tensors := make([]offset, len(f.tensors))
	for i, t := range f.tensors {
		tensors[i] = w.tensor(t, where[i])
	}
	type key struct {
		code    opcode
		version int32
	}
	var codes []offset
	numbers := map[key]int{}
	ops := make([]offset, len(f.ops))
	for i, o := range f.ops {
		k := key{o.code, o.version}
		n, ok := numbers[k]
		if !ok {
			n = len(codes)
			numbers[k] = n
			codes = append(codes, w.table(4, func() {
				w.PrependInt8Slot(0, int8(min(o.code, 127)), 0)
				w.PrependInt32Slot(2, o.version, 1)
				w.PrependInt32Slot(3, int32(o.code), 0)
			}))
		}
		ops[i] = w.operation(o, n)
	}
	signature := w.signature(f)
	graph := w.subgraph(f, w.offsets(tensors), w.offsets(ops))
	codesAt, graphsAt, buffersAt := w.offsets(codes), w.offsets([]offset{graph}), w.offsets(buffers)
	var metaAt offset
	if len(meta) > 0 {
		metaAt = w.offsets(meta)
	}
	signatures := w.offsets([]offset{signature})
	description := w.CreateString(f.description)
	model := w.table(8, func() {
		w.PrependUint32Slot(0, 3, 0)
		w.ref(1, codesAt)
		w.ref(2, graphsAt)
		w.ref(3, description)
		w.ref(4, buffersAt)
		w.ref(6, metaAt)
		w.ref(7, signatures)
	})
	w.FinishWithFileIdentifier(model, []byte(identifier))
	return w.FinishedBytes()
}

// buffer's data begin at a multiple of 16, as kernels expect.
func (w *writer) buffer(data []byte) offset {
	var at offset
	if data != nil {
		w.StartVector(1, len(data), 16)
		at = w.bytesBehind(data)
	}
	return w.table(3, func() { w.ref(0, at) })
}

// bytesBehind ends a vector of bytes whose elements are all given at once.
func (w *writer) bytesBehind(data []byte) offset {
	for i := len(data) - 1; i >= 0; i-- {
		w.PlaceByte(data[i])
	}
	return w.EndVector(len(data))
}

func (w *writer) tensor(t *tensor, buffer int) offset {
	name, shape := w.CreateString(t.name), w.ints(t.shape)
	var q offset
	if t.quant != nil {
		q = w.quant(t.quant)
	}
	return w.table(11, func() {
		w.ref(0, shape)
		w.PrependInt8Slot(1, int8(t.typ), 0)
		w.PrependUint32Slot(2, uint32(buffer), 0)
		w.ref(3, name)
		w.ref(4, q)
		w.PrependBoolSlot(8, true, false)
	})
}

func (w *writer) quant(q *quant) offset {
	w.StartVector(4, len(q.scale), 4)
	for i := len(q.scale) - 1; i >= 0; i-- {
		w.PrependFloat32(q.scale[i])
	}
	scale := w.EndVector(len(q.scale))
	w.StartVector(8, len(q.zero), 8)
	for i := len(q.zero) - 1; i >= 0; i-- {
		w.PrependInt64(q.zero[i])
	}
	zero := w.EndVector(len(q.zero))
	return w.table(7, func() {
		w.ref(2, scale)
		w.ref(3, zero)
		w.PrependInt32Slot(6, int32(q.axis), 0)
	})
}

func (w *writer) operation(o *operation, number int) offset {
	index := func(list []*tensor) []int {
		r := make([]int, len(list))
		for i, t := range list {
			r[i] = -1
			if t != nil {
				r[i] = t.index
			}
		}
		return r
	}
	in, out := w.ints(index(o.in)), w.ints(index(o.out))
	kind := o.options.kind
	if kind == 0 {
		kind = plainOptions[o.code]
	}
	var opts offset
	if kind != 0 {
		opts = w.table(8, func() {
			for _, f := range o.options.fields {
				switch v := f.value.(type) {
				case bool:
					w.PrependBoolSlot(f.slot, v, false)
				case int8:
					w.PrependInt8Slot(f.slot, v, 0)
				case int32:
					w.PrependInt32(v)
					w.Slot(f.slot)
				case float32:
					w.PrependFloat32Slot(f.slot, v, 0)
				}
			}
		})
	}
	return w.table(14, func() {
		w.PrependUint32Slot(0, uint32(number), 0)
		w.ref(1, in)
		w.ref(2, out)
		w.PrependUint8Slot(3, kind, 0)
		w.ref(4, opts)
	})
}

func (w *writer) subgraph(f *file, tensors, ops offset) offset {
	index := func(ports []port) offset {
		r := make([]int, len(ports))
		for i, p := range ports {
			r[i] = p.tensor.index
		}
		return w.ints(r)
	}
	in, out, name := index(f.inputs), index(f.outputs), w.CreateString("main")
	return w.table(6, func() {
		w.ref(0, tensors)
		w.ref(1, in)
		w.ref(2, out)
		w.ref(3, ops)
		w.ref(4, name)
	})
}

// signature names inputs and outputs, for callers that go by names.
func (w *writer) signature(f *file) offset {
	maps := func(ports []port) offset {
		var list []offset
		for _, p := range ports {
			name := w.CreateString(p.name)
			list = append(list, w.table(2, func() {
				w.ref(0, name)
				w.PrependUint32Slot(1, uint32(p.tensor.index), 0)
			}))
		}
		return w.offsets(list)
	}
	in, out, key := maps(f.inputs), maps(f.outputs), w.CreateString("serving_default")
	return w.table(5, func() {
		w.ref(0, in)
		w.ref(1, out)
		w.ref(2, key)
	})
}
