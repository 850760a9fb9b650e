package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// maxDepth is how deep messages are followed; the reader refuses deeper ones.
const maxDepth = 200

// largeText is from how many bytes on metadata or documentation are worth a note.
const largeText = 64 << 10

// scanner walks the messages of a file without interpreting them.
type scanner struct {
	r      *Report
	fields map[string]map[wire.Num]field
	// at is the place of the current message.
	at       []string
	external []reference
}

// reference is what a TensorProto says of data beside the model.
type reference struct {
	place, tensor string
	props         map[string]string
	size          int64 // bytes by type and shape, -1 if that is not known
}

// scan walks message b of the named kind. Where the encoding breaks, it ends: the reader says why.
func (s *scanner) scan(message string, b []byte) {
	if len(s.at) > maxDepth {
		return
	}
	known := s.fields[message]
	seen := map[wire.Num]int{}
	for f, err := range wire.Fields(b) {
		if err != nil {
			s.broken(f, err)
			return
		}
		d, ok := known[f.Num]
		if !ok {
			s.r.add(Hidden, Danger, s.place(""), "%d bytes in field %d, which %s does not have", len(f.Raw), f.Num, s.called(message))
			continue
		}
		i := seen[f.Num]
		seen[f.Num]++
		name := d.name
		if d.repeated {
			name = fmt.Sprintf("%s[%d]", d.name, i)
		} else if i == 1 {
			s.twice(d, name)
		}
		switch {
		case d.kind != scalar && !f.IsBytes():
			s.r.add(Hidden, Danger, s.place(name), "%d bytes of another wire type, which readers pass over", len(f.Raw))
		case d.kind == text:
			s.name(name, string(f.Body))
		case d.kind == prose && len(f.Body) >= largeText:
			s.r.add(LargeText, Note, s.place(name), "%d bytes of text", len(f.Body))
		case d.kind == sub:
			s.at = append(s.at, name)
			s.scan(d.message, f.Body)
			s.at = s.at[:len(s.at)-1]
		}
	}
	if message == "Tensor" {
		s.tensor(b)
	}
}

// broken tells bytes behind a whole model from a model that is cut.
func (s *scanner) broken(_ wire.Field, err error) {
	s.r.add(Unreadable, Danger, s.place(""), "the encoding breaks: %v", err)
}

func (s *scanner) twice(d field, name string) {
	switch d.kind {
	case sub:
		s.r.add(Twice, Danger, s.place(name), "it stands more than once; readers put such messages together, viewers may show one of them")
	default:
		s.r.add(Twice, Note, s.place(name), "it stands more than once; the last one counts")
	}
}

// name looks at a string that people read.
func (s *scanner) name(field, v string) {
	if i := strings.IndexFunc(v, deceptive); i >= 0 {
		s.r.add(Name, Danger, s.place(field), "%q holds characters that cannot be seen or that reverse text", v[:min(len(v), 80)])
	}
	if len(v) >= largeText {
		s.r.add(LargeText, Note, s.place(field), "a name of %d bytes", len(v))
	}
}

func (s *scanner) called(message string) string { return "a " + message + " message of ONNX" }

func (s *scanner) place(field string) string {
	p := s.at
	if field != "" {
		p = append(slices.Clip(p), field)
	}
	if len(p) == 0 {
		return "model"
	}
	return strings.Join(p, ".")
}
