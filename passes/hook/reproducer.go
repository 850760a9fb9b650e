package hook

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// Reproducer is a failing case in one file: a model as text below a few comment lines that say what to run on it. The
// command takes such a file like a model.
type Reproducer struct {
	Model    *ir.Model
	Pipeline string
	Skip     []string // as --skip
	Why      string   // what went wrong, one line
	// Fill replaces constants above FillAbove bytes by seeded fills of the same type and shape, so that the file stays small. The
	// caller checks that the failure persists.
	Fill bool
}

// FillAbove is the size in bytes above which constants of a reproducer are filled.
const FillAbove = 64 << 10

const reproducerMark = "# onnxopt reproducer"

// Write writes the file.
func (r *Reproducer) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, reproducerMark)
	fmt.Fprintf(b, "# pipeline: %s\n", oneLine(r.Pipeline))
	for _, s := range r.Skip {
		fmt.Fprintf(b, "# skip: %s\n", oneLine(s))
	}
	fmt.Fprintf(b, "# because: %s\n", oneLine(r.Why))
	m := r.Model
	if r.Fill {
		var err error
		if m, err = Filled(m); err != nil {
			return err
		}
	}
	if err := text.Print(b, m, text.Options{Inline: !r.Fill}); err != nil {
		return err
	}
	fmt.Fprintln(b)
	return b.Flush()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// IsReproducer reports whether a file begins like a reproducer.
func IsReproducer(b []byte) bool { return bytes.HasPrefix(b, []byte(reproducerMark)) }

// ReadReproducer reads such a file.
func ReadReproducer(b []byte) (*Reproducer, error) {
	if !IsReproducer(b) {
		return nil, errors.New("the file is no reproducer")
	}
	r := &Reproducer{}
	for line := range bytes.Lines(b) {
		s, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "# ")
		if !ok {
			break
		}
		switch key, value, _ := strings.Cut(s, ": "); key {
		case "pipeline":
			r.Pipeline = value
		case "skip":
			r.Skip = append(r.Skip, value)
		case "because":
			r.Why = value
		}
	}
	var err error
	r.Model, err = text.ParseWith(b, text.ReadOptions{External: readFill})
	return r, err
}

// Filled is a copy of m in which constants above FillAbove bytes hold seeded numbers.
func Filled(m *ir.Model) (*ir.Model, error) {
	c := m.Clone()
	seed := uint64(0)
	for _, g := range c.Graphs() {
		for _, v := range g.Consts() {
			t := v.Const()
			_, beside := t.Payload().(keep.External)
			switch {
			case t.ByteLen() > FillAbove:
				seed++
				t = ir.NewLazyTensor(t.DType(), t.Shape(), &fill{t.DType(), t.ByteLen(), seed})
			case beside: // the file it stands in may not be there where the reproducer is read
				b, err := t.Bytes()
				if err != nil {
					return nil, err
				}
				t = ir.NewTensor(t.DType(), t.Shape(), b)
			default:
				continue
			}
			w := g.NamedConst(v.Name(), t)
			w.SetOrigin(v.Origin())
			v.ReplaceUses(w)
			g.EraseConst(v)
		}
	}
	return c, nil
}

// fill is a payload of seeded numbers: floats uniform in [-1, 1), integers from 0 to 3, other types zero. Written as text
// it is ["onnxopt.fill": "seed"].
type fill struct {
	dtype ir.DType
	bytes int64
	seed  uint64
}

// External makes fill print as external data.
func (f *fill) External() []ir.Prop {
	return []ir.Prop{{Key: "onnxopt.fill", Value: strconv.FormatUint(f.seed, 10)}}
}

func (f *fill) Strings() ([]string, error) { return nil, errors.New("strings cannot be filled") }

func (f *fill) Bytes() ([]byte, error) {
	b := make([]byte, f.bytes)
	size := f.dtype.Bits() / 8
	state := f.seed
	for i := 0; size > 0 && i+size <= len(b); i += size {
		state = state*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
		u := state >> 40                                        // 24 bits
		switch {
		case f.dtype == ir.Float32:
			binary.LittleEndian.PutUint32(b[i:], math.Float32bits(float32(u)/(1<<23)-1))
		case f.dtype == ir.Float64:
			binary.LittleEndian.PutUint64(b[i:], math.Float64bits(float64(u)/(1<<23)-1))
		case f.dtype == ir.Float16: // sign, exponent of [0.5, 1), and a mantissa
			binary.LittleEndian.PutUint16(b[i:], uint16(u&0x83ff|0x3800))
		case f.dtype == ir.BFloat16:
			binary.LittleEndian.PutUint16(b[i:], uint16(u&0x807f|0x3f00))
		case f.dtype.IsInt():
			b[i] = byte(u & 3)
		}
	}
	return b, nil
}

// maxFill bounds what a fill may allocate.
const maxFill = 4 << 30

func readFill(d ir.DType, shape []int64, props []ir.Prop) (ir.Payload, error) {
	t := &text.External{Props: props}
	if len(props) != 1 || props[0].Key != "onnxopt.fill" {
		return t, nil
	}
	seed, err := strconv.ParseUint(props[0].Value, 10, 64)
	n := d.ByteLen(ir.NumElements(shape))
	if err != nil || n < 0 || n > maxFill {
		return nil, fmt.Errorf("a fill of type %s and shape %v with seed %q is not possible", d, shape, props[0].Value)
	}
	return &fill{d, n, seed}, nil
}
