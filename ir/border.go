package ir

import "slices"

// Border says how the interface of a model that a pass has changed relates to that of the model before. nil: it is the same. Passes that
// change an interface state it, so that their results can be held against the original.
type Border struct {
	// Inputs make inputs of the model before out of those after: Name is the input before, Of the one after. An input that is not
	// listed is the one of its name.
	Inputs []Port
	// Taps are inputs after that are inner values of the model before: Name is the input, Of the value.
	Taps []Port
	// Outputs make outputs after out of values before: Name is the output after, Of an output, input or inner value of the main graph
	// before. nil: the outputs are the same.
	Outputs []Port
	// Added are further outputs behind those.
	Added []Port
	// Values are inner values of the main graph that have another name: Name after, Of before.
	Values []Port
	// Fixed are inputs before that are constants after.
	Fixed []Fixed
	// Why says why the relation cannot be stated; empty where it can.
	Why string
}

// Port is one place of a changed interface: the value Of, as the steps make it, is Name.
type Port struct {
	Name, Of string
	Steps    []PortStep
}

// PortStep is a conversion at a border: one of a permutation of axes, as Transpose takes it, and a Cast.
type PortStep struct {
	Perm []int64
	To   DType
}

// Fixed is an input that has become a constant: the value, as the steps make it.
type Fixed struct {
	Name  string
	Value *Tensor
	Steps []PortStep
}

// Then is the border of two changes, b before c. It is safe on nil.
func (b *Border) Then(c *Border) *Border {
	switch {
	case b == nil:
		return c
	case c == nil:
		return b
	case b.Why != "":
		return b
	case c.Why != "":
		return c
	}
	fixed, why := b.fixed(c.Fixed)
	if why != "" {
		return &Border{Why: why}
	}
	r := &Border{Fixed: fixed}
	for _, p := range b.Inputs {
		if slices.ContainsFunc(c.Fixed, func(f Fixed) bool { return f.Name == p.Of }) {
			continue
		}
		if q, ok := port(c.Inputs, p.Of); ok {
			p = Port{p.Name, q.Of, slices.Concat(q.Steps, p.Steps)}
		}
		r.Inputs = append(r.Inputs, p)
	}
	for _, p := range c.Inputs {
		if slices.ContainsFunc(b.Inputs, func(q Port) bool { return q.Of == p.Name }) {
			continue
		}
		if t, ok := port(b.Taps, p.Name); ok {
			inverse, ok := inverse(p.Steps)
			if !ok {
				return &Border{Why: "input " + p.Of + " is an inner value of another type in the original"}
			}
			r.Taps = append(r.Taps, Port{p.Of, t.Of, slices.Concat(t.Steps, inverse)})
			continue
		}
		r.Inputs = append(r.Inputs, p)
	}
	for _, p := range b.Taps {
		if _, ok := port(c.Inputs, p.Name); !ok {
			r.Taps = append(r.Taps, p)
		}
	}
	before := b.lookup(len(c.Taps) + len(c.Outputs))
	for _, p := range c.Taps {
		q, ok := before(p)
		if !ok {
			return &Border{Why: "input " + p.Name + " is of another type in the original"}
		}
		r.Taps = append(r.Taps, q)
	}
	for _, p := range c.Values {
		if q, ok := port(b.Values, p.Of); ok {
			p.Of = q.Of
		}
		r.Values = append(r.Values, p)
	}
	for _, p := range b.Values {
		if !slices.ContainsFunc(c.Values, func(q Port) bool { return q.Of == p.Name }) {
			r.Values = append(r.Values, p)
		}
	}
	if r.Outputs, r.Added = b.Outputs, b.Added; c.Outputs != nil {
		r.Outputs, r.Added = []Port{}, nil
	}
	for i, p := range slices.Concat(c.Outputs, c.Added) {
		q, ok := before(p)
		switch {
		case !ok:
			return &Border{Why: "output " + p.Name + " is of another type in the original"}
		case i < len(c.Outputs):
			r.Outputs = append(r.Outputs, q)
		default:
			r.Added = append(r.Added, q)
		}
	}
	return r
}

// fixed are the inputs before b that are constants once those of the list, inputs behind b, are.
func (b *Border) fixed(list []Fixed) (r []Fixed, why string) {
	r = slices.Clone(b.Fixed)
	for _, f := range list {
		if _, ok := port(b.Taps, f.Name); ok {
			return nil, "input " + f.Name + " is an inner value of the original, and fixed"
		}
		for _, p := range b.Inputs {
			if p.Of == f.Name {
				f = Fixed{p.Name, f.Value, slices.Concat(f.Steps, p.Steps)}
				break
			}
		}
		r = append(r, f)
	}
	return r, ""
}

// lookup says what of the model before b a port of the model after it is; n is how often it will be asked.
func (b *Border) lookup(n int) func(Port) (Port, bool) {
	given := [][]Port{b.Outputs, b.Added, b.Taps, b.Values}
	find := func(list int, name string) (Port, bool) { return port(given[list], name) }
	if n > 8 {
		index := make([]map[string]Port, len(given))
		for i, list := range given {
			index[i] = map[string]Port{}
			for _, p := range list {
				index[i][p.Name] = p
			}
		}
		find = func(list int, name string) (Port, bool) { p, ok := index[list][name]; return p, ok }
	} else if n == 0 {
		given[1] = nil // of one added output at a time: they have the names of their values
	}
	return func(p Port) (Port, bool) {
		for list := range given {
			if q, ok := find(list, p.Of); ok {
				return Port{p.Name, q.Of, slices.Concat(q.Steps, p.Steps)}, true
			}
		}
		for _, q := range b.Inputs { // an input that b changed
			if q.Of == p.Of {
				inv, ok := inverse(q.Steps)
				return Port{p.Name, q.Name, slices.Concat(inv, p.Steps)}, ok
			}
		}
		return p, true
	}
}

func port(list []Port, name string) (Port, bool) {
	for _, p := range list {
		if p.Name == name {
			return p, true
		}
	}
	return Port{}, false
}

// inverse undoes permutations; a Cast cannot be undone without the type before.
func inverse(steps []PortStep) ([]PortStep, bool) {
	var r []PortStep
	for _, s := range slices.Backward(steps) {
		if s.To != Undefined {
			return nil, false
		}
		r = append(r, PortStep{Perm: InversePerm(s.Perm)})
	}
	return r, true
}

// InversePerm is the permutation that undoes perm, which has to be one.
func InversePerm(perm []int64) []int64 {
	r := make([]int64, len(perm))
	for i, p := range perm {
		r[p] = int64(i)
	}
	return r
}
