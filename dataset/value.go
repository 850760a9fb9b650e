package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// ParseValue makes a value for an input of text: numbers with commas or blanks between them, in brackets or not (a list of lists has
// commas between its rows), true and false for bools, or one string. Its shape is that of the brackets; without them it is
// the input's own where the number of elements agrees.
func ParseValue(text string, p *Port) (*ir.Tensor, error) {
	want := p.Type.DType()
	if want == ir.String {
		shape := make([]int64, len(p.Type.TensorShape()))
		for i := range shape {
			shape[i] = 1
		}
		return ir.NewStringTensor(shape, []string{text}), nil
	}
	words, shape, err := brackets(text)
	if err != nil {
		return nil, err
	}
	if want == ir.Bool {
		for i, w := range words {
			words[i] = strings.NewReplacer("true", "1", "false", "0").Replace(strings.ToLower(w))
		}
	}
	t, err := parseNumbers(words, want, shape)
	if err != nil {
		return nil, err
	}
	if s := p.Type.TensorShape(); s != nil && !fits(t.Shape(), s) {
		if own, ok := filled(s, t.Len()); ok && !strings.Contains(text, "[") {
			return t.Reshape(own), nil
		}
		return nil, fmt.Errorf("shape %v where the model takes %s", t.Shape(), s)
	}
	return t, nil
}

// filled is the shape with sizes for its open axes that has n elements: all one but the last of them.
func filled(s ir.Shape, n int64) ([]int64, bool) {
	r, last, known := make([]int64, len(s)), -1, int64(1)
	for i, d := range s {
		r[i] = 1
		if d.IsStatic() {
			r[i] = d.Size
			known *= max(d.Size, 1)
		} else {
			last = i
		}
	}
	if last >= 0 && known > 0 {
		r[last] = n / known
	}
	return r, ir.NumElements(r) == n
}

// brackets splits text into words, and finds the shape that its brackets spell.
func brackets(text string) (words []string, shape []int64, err error) {
	depth, counts := 0, []int64{}
	item := func() { // one ends, in the list at this depth
		if depth > 0 {
			counts[depth-1]++
		}
	}
	word := ""
	flush := func() {
		if word != "" {
			words = append(words, word)
			word = ""
			item()
		}
	}
	for _, c := range text {
		switch c {
		case '[':
			flush()
			if depth++; depth > len(counts) {
				counts = append(counts, 0)
			}
			if depth > 32 {
				return nil, nil, errors.New("brackets nest too deep")
			}
			counts[depth-1] = 0
		case ']':
			flush()
			if depth == 0 {
				return nil, nil, errors.New("brackets do not match")
			}
			n := counts[depth-1]
			for len(shape) < len(counts) {
				shape = append(shape, -1)
			}
			if shape[depth-1] >= 0 && shape[depth-1] != n {
				return nil, nil, errors.New("rows differ in length")
			}
			shape[depth-1] = n
			depth--
			item()
		case ',', ' ', '\t', '\n':
			flush()
		default:
			word += string(c)
		}
	}
	flush()
	switch {
	case depth != 0:
		return nil, nil, errors.New("brackets do not match")
	case shape == nil && len(words) == 1:
		return words, []int64{}, nil
	case shape == nil:
		return words, []int64{int64(len(words))}, nil
	case ir.NumElements(shape) != int64(len(words)):
		return nil, nil, errors.New("rows differ in length")
	}
	return words, shape, nil
}

// ReadValue reads one value for an input from a file: .npy, or a tensor or other value in protobuf (.pb).
func ReadValue(path string, p *Port) (ir.Datum, error) {
	d, err := readValue(path, p)
	if err != nil {
		return nil, at(path, err)
	}
	s := Set{o: Options{Inputs: []Port{*p}}}
	if d, err = s.fit(d, p, false); err != nil {
		return nil, at(path, err)
	}
	return d, nil
}

func readValue(path string, p *Port) (ir.Datum, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".pb":
		return readProto(path, p.Type)
	case ".npy", ".gz":
		return readArray(path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return nil, errors.New("a value is in a .npy or .pb file")
}
