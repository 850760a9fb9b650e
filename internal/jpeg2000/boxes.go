package jpeg2000

import (
	"errors"
	"fmt"
)

// Colour spaces (Table I.10); the others are not read.
const (
	spaceUnknown = 0
	spaceSRGB    = 16
	spaceGrey    = 17
	spaceSYCC    = 18
)

// file is a JP2 file (Annex I), or a bare codestream.
type file struct {
	codestream []byte
	size       size
	space      int
	palette    *palette
	mapping    []channelMap // cmap
	colours    []int        // channels by the colour that they hold, from cdef; nil: in order
}

// palette is pclr: rows of entries, a column each for the channels that it makes (I.5.3.4).
type palette struct {
	depths  []int
	entries [][]uint16 // by column; signed ones are half their range higher
}

// channelMap says what makes a channel: a component, or a column of the palette at the component's samples (I.5.3.5).
type channelMap struct {
	component int
	direct    bool
	column    int
}

// errBox is the error of a JP2 file whose boxes are not as Annex I says.
var errBox = errors.New("the file is damaged: a box is out of place or wrong")

// nextBox splits the next box off: its type and contents (I.4).
func (r *input) nextBox() (kind string, contents []byte) {
	all := len(r.b)
	n := r.number(4)
	kind = string(r.take(4))
	switch n {
	case 0: // up to the end
		n = all
	case 1:
		n = r.number(8)
	}
	if n < 0 || n > all {
		r.short = true
		return kind, nil
	}
	return kind, r.take(n - (all - len(r.b)))
}

// readFile finds the codestream and what says how its components become colours.
func readFile(b []byte) (*file, error) {
	f := &file{codestream: b}
	if len(b) >= len(Magic) && string(b[:len(Magic)]) == Magic {
		if err := f.boxes(b[len(Magic):]); err != nil {
			return nil, err
		}
	}
	var err error
	if f.size, err = readSize(&input{b: f.codestream}); err != nil {
		return nil, err
	}
	return f, nil
}

// boxes reads the boxes behind the signature up to the first codestream.
func (f *file) boxes(b []byte) error {
	r := &input{b: b}
	width, height := 0, 0
	for {
		kind, contents := r.nextBox()
		switch {
		case r.short && kind != "jp2c":
			return errShort
		case kind == "jp2c":
			if r.short { // at least the size
				return errShort
			}
			f.codestream = contents
			if width == 0 {
				return errBox
			}
			z, err := readSize(&input{b: contents})
			if err == nil && (z.x1-z.x0 != width || z.y1-z.y0 != height) {
				return errors.New("the file says another size than the codestream")
			}
			return err
		case kind == "jp2h":
			h := &input{b: contents}
			for first := true; len(h.b) > 0; first = false {
				kind, contents := h.nextBox()
				if h.short || first != (kind == "ihdr") {
					return errBox
				}
				s := &input{b: contents}
				if kind == "ihdr" { // I.5.3.1
					height, width = s.number(4), s.number(4)
					continue
				}
				if err := f.headerBox(kind, s); err != nil {
					return err
				}
			}
		}
	}
}

// headerBox reads a box of the header (I.5.3).
func (f *file) headerBox(kind string, s *input) error {
	switch kind {
	case "colr":
		method := s.number(1)
		s.number(2)
		if method != 1 || f.space != spaceUnknown {
			return nil
		}
		switch f.space = s.number(4); f.space { // some write 0 for an unknown one
		case spaceUnknown, spaceSRGB, spaceGrey, spaceSYCC:
		default:
			return fmt.Errorf("colour space %d is not read", f.space)
		}
	case "pclr":
		return f.readPalette(s)
	case "cmap":
		for len(s.b) > 0 {
			m := channelMap{component: s.number(2)}
			kind := s.number(1)
			m.direct, m.column = kind == 0, s.number(1)
			if kind > 1 {
				return errBox
			}
			f.mapping = append(f.mapping, m)
		}
	case "cdef":
		f.colours = []int{-1, -1, -1}
		for range s.number(2) {
			channel, kind, colour := s.number(2), s.number(2), s.number(2)
			if kind == 0 && colour >= 1 && colour <= 3 {
				f.colours[colour-1] = channel
			}
			if s.short {
				return errBox
			}
		}
	}
	if s.short {
		return errBox
	}
	return nil
}

func (f *file) readPalette(s *input) error {
	rows, columns := s.number(2), s.number(1)
	p := &palette{}
	var signed []bool
	for range columns {
		n := s.number(1)
		p.depths, signed = append(p.depths, n&127+1), append(signed, n > 127)
		if p.depths[len(p.depths)-1] > 16 {
			return errors.New("a palette of more than 16 bits is not read")
		}
	}
	if rows == 0 || columns == 0 || rows > 1024 {
		return errBox
	}
	p.entries = make([][]uint16, columns)
	for range rows {
		for k, depth := range p.depths {
			v := uint16(s.number((depth+7)/8)) & (1<<depth - 1)
			if signed[k] {
				v ^= 1 << (depth - 1)
			}
			p.entries[k] = append(p.entries[k], v)
		}
	}
	if s.short {
		return errBox
	}
	f.palette = p
	return nil
}
