package audit

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// Fields of TensorProto that are read here.
const (
	tensorDims     wire.Num = 1
	tensorType     wire.Num = 2
	tensorName     wire.Num = 8
	tensorExternal wire.Num = 13
	tensorLocation wire.Num = 14
	entryKey       wire.Num = 1
	entryValue     wire.Num = 2
	locationBeside          = 1
)

// tensor notes what a TensorProto, walked without error, says of data beside the model.
func (s *scanner) tensor(b []byte) {
	ref := reference{place: s.place(""), props: map[string]string{}, size: -1}
	beside, inside := false, int64(0)
	var dims []int64
	dtype := ir.Undefined
	for f := range wire.Fields(b) {
		switch {
		case f.Num == tensorDims:
			dims, _ = wire.Ints(dims, f)
		case f.Num == tensorType && f.IsVarint():
			if n := f.Int32(); n > 0 && n < 256 {
				dtype = ir.DType(n)
			}
		case f.Num == tensorName && f.IsBytes():
			ref.tensor = string(f.Body)
		case f.Num == tensorLocation && f.IsVarint():
			beside = f.Uint == locationBeside
		case f.Num == tensorExternal && f.IsBytes():
			ref.props[string(wire.Last(f.Body, entryKey))] = string(wire.Last(f.Body, entryValue))
		case f.Num >= 4 && f.Num <= 11 && f.Num != tensorName:
			inside += int64(len(f.Raw))
		}
	}
	if n := ir.NumElements(dims); n >= 0 && dtype.Valid() && dtype != ir.String {
		ref.size = dtype.ByteLen(n)
	}
	switch {
	case beside && inside > 0:
		s.r.add(Hidden, Danger, ref.place, "tensor %q lies in a data file and holds %d bytes besides", ref.tensor, inside)
	case !beside && len(ref.props) > 0:
		s.r.add(Hidden, Note, ref.place, "tensor %q names a data file that it does not use", ref.tensor)
	}
	if beside {
		s.external = append(s.external, ref)
	}
}

// part is a tensor's place in a data file.
type part struct {
	offset, size int64
	tensor       string
}

// dataFiles checks what the model refers to beside itself.
func (r *Report) dataFiles(refs []reference) {
	parts, sizes := map[string][]part{}, map[string]int64{}
	opened := onnxio.NewDataFiles(onnxio.Options{DataDir: r.o.DataDir, DataRoot: r.o.DataRoot})
	defer opened.Close()
	for _, ref := range refs {
		name := ref.props["location"]
		if err := onnxio.CheckLocation(name); err != nil {
			r.add(Path, Danger, ref.place, "tensor %q: %v", ref.tensor, err)
			continue
		}
		if r.o.DataDir == "" {
			r.add(External, Note, ref.place, "tensor %q lies in data file %q, and there is no folder to look in", ref.tensor, name)
			continue
		}
		size, err := opened.Stat(name)
		if err != nil {
			code := External
			if !missing(r.o.DataDir, name) {
				code = Path
			}
			r.add(code, Danger, ref.place, "tensor %q: %v", ref.tensor, err)
			continue
		}
		p, why := ref.part(size)
		if why != "" {
			r.add(External, Danger, ref.place, "tensor %q: data file %q: %s", ref.tensor, name, why)
			continue
		}
		parts[name], sizes[name] = append(parts[name], p), size
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		r.DataFiles = append(r.DataFiles, name)
		r.layout(name, parts[name], sizes[name])
	}
}

// missing reports whether nothing has that name, as opposed to something that may not be opened.
func missing(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
	return os.IsNotExist(err)
}

// part is where the tensor lies in a file of n bytes, or why that cannot be.
func (ref *reference) part(n int64) (p part, why string) {
	p.tensor, p.size = ref.tensor, ref.size
	for key, to := range map[string]*int64{"offset": &p.offset, "length": &p.size} {
		if v, ok := ref.props[key]; ok {
			x, err := strconv.ParseUint(v, 10, 63)
			if err != nil {
				return p, fmt.Sprintf("%s %q is no number of bytes", key, v)
			}
			*to = int64(x)
		}
	}
	switch {
	case p.size < 0:
		return p, "its size is not known"
	case ref.size >= 0 && p.size != ref.size:
		return p, fmt.Sprintf("the tensor needs %d bytes and is given %d", ref.size, p.size)
	case p.offset > n || p.size > n-p.offset:
		return p, fmt.Sprintf("it has %d bytes, and the tensor's are %d from %d on", n, p.size, p.offset)
	}
	return p, ""
}

// slack is how many bytes between tensors alignment explains: writers place weights at multiples of a page, or of 64 KiB on Windows.
const slack = 64 << 10

// layout looks for overlaps and for bytes that belong to no tensor.
func (r *Report) layout(name string, parts []part, size int64) {
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size)) })
	end := int64(0)
	var last part
	for _, p := range parts {
		tied := p.offset == last.offset && p.size == last.size
		switch {
		case p.size == 0:
			continue
		case p.offset < end && !tied:
			r.add(External, Danger, name, "tensors %q and %q overlap", last.tensor, p.tensor)
		case p.offset-end >= slack:
			r.add(Hidden, Danger, name, "%d bytes from %d on belong to no tensor", p.offset-end, end)
		}
		if p.offset+p.size > end {
			end, last = p.offset+p.size, p
		}
	}
	if rest := size - end; rest >= slack {
		r.add(Hidden, Danger, name, "%d bytes behind the last tensor", rest)
	} else if rest > 0 {
		r.add(Hidden, Note, name, "%d bytes behind the last tensor", rest)
	}
}
