package native

import "github.com/onnxopt/onnxopt/ir"

// stream hands the taps of a run over before their slots are given up.
type stream struct {
	taps []operand
	of   map[int][]int // taps by slot
	done []bool
	each func(tap int, d ir.Datum) error
}

func newStream(taps []operand, each func(tap int, d ir.Datum) error) *stream {
	s := &stream{taps: taps, of: map[int][]int{}, done: make([]bool, len(taps)), each: each}
	for i, o := range taps {
		if o.tensor == nil && o.slot >= 0 {
			s.of[o.slot] = append(s.of[o.slot], i)
		}
	}
	return s
}

// dying hands over what has a value in slots that are about to be given up.
func (s *stream) dying(f *frame, slots []int) error {
	if s == nil {
		return nil
	}
	for _, slot := range slots {
		for _, i := range s.of[slot] {
			if err := s.give(f, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest hands over what is left at the end of a run: constants, and values that are needed to the end.
func (s *stream) rest(f *frame) error {
	for i := range s.taps {
		if err := s.give(f, i); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) give(f *frame, i int) error {
	d := f.get(s.taps[i])
	if s.done[i] || d == nil {
		return nil
	}
	s.done[i] = true
	return s.each(i, d)
}
