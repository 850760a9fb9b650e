package kernel

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// stringOperand is operand i, whose elements are strings.
func (c *Call) stringOperand(i int) (*ir.Tensor, []string, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, nil, err
	}
	if t.DType() != ir.String {
		return nil, nil, c.badType(t.DType())
	}
	s, err := t.Strings()
	return t, s, err
}

// stringConcatOp joins strings element by element, with broadcasting.
func stringConcatOp(c *Call) ([]ir.Datum, error) {
	a, x, err := c.stringOperand(0)
	if err != nil {
		return nil, err
	}
	b, y, err := c.stringOperand(1)
	if err != nil {
		return nil, err
	}
	shape, err := broadcast(a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	r, err := alloc[string](c, shape)
	if err != nil {
		return nil, err
	}
	n, out := newNest(shape, broadcastStrides(a.Shape(), shape), broadcastStrides(b.Shape(), shape)), 0
	err = n.rows(func(at []int, length int) error {
		for i := range length {
			r[out] = x[at[0]+i*n.inner(0)] + y[at[1]+i*n.inner(1)]
			out++
		}
		return c.tick(64 * length)
	})
	return one(ir.NewStringTensor(shape, r), err)
}

// regexFullMatchOp tells which strings match the pattern as a whole. The pattern language is RE2's, as the specification says.
func regexFullMatchOp(c *Call) ([]ir.Datum, error) {
	t, s, err := c.stringOperand(0)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`^(?:` + c.str("pattern", "") + `)$`)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	r, err := alloc[uint8](c, t.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range s {
		r[i] = truth(re.MatchString(e))
		if err := c.tick(64 * len(e)); err != nil {
			return nil, err
		}
	}
	return one(boolTensor(t.Shape(), r), nil)
}

// stringSplitOp cuts strings at a delimiter, or at stretches of white space without one, at most maxsplit times. The parts lie
// along a new last axis, short rows padded with empty strings; the second result counts them.
func stringSplitOp(c *Call) ([]ir.Datum, error) {
	t, s, err := c.stringOperand(0)
	if err != nil {
		return nil, err
	}
	limit := int(c.int("maxsplit", -1))
	delimiter := c.str("delimiter", "")
	parts, most := make([][]string, len(s)), 0
	counts, err := alloc[int64](c, t.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range s {
		switch {
		case delimiter == "":
			parts[i] = splitSpace(e, limit)
		case limit >= 0 && limit < len(e):
			parts[i] = strings.SplitN(e, delimiter, limit+1)
		default:
			parts[i] = strings.Split(e, delimiter)
		}
		counts[i] = int64(len(parts[i]))
		most = max(most, len(parts[i]))
	}
	shape := append(slices.Clone(t.Shape()), int64(most))
	r, err := alloc[string](c, shape)
	if err != nil {
		return nil, err
	}
	for i, p := range parts {
		copy(r[i*most:], p)
	}
	return []ir.Datum{ir.NewStringTensor(shape, r), ir.TensorOf(counts, t.Shape()...)}, nil
}

// splitSpace cuts at stretches of white space; after limit cuts the rest stays whole.
func splitSpace(s string, limit int) []string {
	r := []string{}
	for s = strings.TrimSpace(s); s != ""; {
		i := strings.IndexAny(s, " \t\n\r\v\f")
		if i < 0 || limit >= 0 && len(r) >= limit {
			return append(r, s)
		}
		r = append(r, s[:i])
		s = strings.TrimLeft(s[i:], " \t\n\r\v\f")
	}
	return r
}

// stringNormalizerOp removes stop words and changes case. The operand is a vector or has one row; a result that loses all its
// words holds one empty string. Case is that of Unicode, whatever the attribute locale names.
func stringNormalizerOp(c *Call) ([]ir.Datum, error) {
	t, s, err := c.stringOperand(0)
	if err != nil {
		return nil, err
	}
	if t.Rank() != 1 && (t.Rank() != 2 || t.Shape()[0] != 1) {
		return nil, c.badOperand(0, t)
	}
	fold := func(w string) string { return w }
	switch action := c.str("case_change_action", "NONE"); action {
	case "LOWER":
		fold = strings.ToLower
	case "UPPER":
		fold = strings.ToUpper
	case "NONE":
	default:
		return nil, fmt.Errorf("unknown case_change_action %q", action)
	}
	same := func(w string) string { return w }
	if c.int("is_case_sensitive", 0) == 0 {
		same = strings.ToLower
	}
	stops := map[string]bool{}
	for _, w := range c.Attr("stopwords").Strs() {
		stops[same(w)] = true
	}
	r := []string{}
	for _, w := range s {
		if !stops[same(w)] {
			r = append(r, fold(w))
		}
	}
	if len(r) == 0 {
		r = []string{""}
	}
	shape := withAxis(t.Shape(), t.Rank()-1, int64(len(r)))
	return one(ir.NewStringTensor(shape, r), nil)
}

// tfIdfVectorizerOp counts the n-grams of a pool in each row. An n-gram's elements may be apart by one more than the skips.
// Modes: TF the count, IDF the weight of what occurs, TFIDF their product.
func tfIdfVectorizerOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	rows, n := int64(1), x.Len()
	shape := []int64{}
	switch x.Rank() {
	case 0, 1:
	case 2:
		rows, n = x.Shape()[0], x.Shape()[1]
		shape = append(shape, rows)
	default:
		return nil, c.badOperand(0, x)
	}
	words, pool, err := tfIdfWords(c, x)
	if err != nil {
		return nil, err
	}
	indexes, weights := c.Attr("ngram_indexes").Ints(), c.Attr("weights").Floats()
	width := int64(0)
	for _, i := range indexes {
		if i < 0 || i > 1<<31 {
			return nil, fmt.Errorf("n-gram index %d", i)
		}
		width = max(width, i+1)
	}
	if len(weights) > 0 && len(weights) != len(indexes) {
		return nil, fmt.Errorf("%d weights for %d n-grams", len(weights), len(indexes))
	}
	shape = append(shape, width)
	r, err := alloc[float32](c, shape)
	if err != nil {
		return nil, err
	}
	grams, err := poolGrams(c, pool, len(indexes))
	if err != nil {
		return nil, err
	}
	mode := c.str("mode", "")
	if mode != "TF" && mode != "IDF" && mode != "TFIDF" {
		return nil, fmt.Errorf("unknown mode %q", mode)
	}
	for b := range rows {
		row := words[b*n : (b+1)*n]
		err := eachGram(c, row, func(key string) {
			id, ok := grams[key]
			if !ok {
				return
			}
			w := float32(1)
			if len(weights) > 0 && mode != "TF" {
				w = weights[id]
			}
			if at := &r[b*width+indexes[id]]; mode == "IDF" {
				*at = w
			} else {
				*at += w
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return one(ir.TensorOf(r, shape...), nil)
}

// tfIdfWords gives the elements of x and of the pool as strings that are equal where the elements are.
func tfIdfWords(c *Call, x *ir.Tensor) (words, pool []string, err error) {
	if x.DType() == ir.String {
		words, err = x.Strings()
		return words, c.Attr("pool_strings").Strs(), err
	}
	v, err := ints(x)
	for _, i := range v {
		words = append(words, fmt.Sprint(i))
	}
	for _, i := range c.Attr("pool_int64s").Ints() {
		pool = append(pool, fmt.Sprint(i))
	}
	return words, pool, err
}

// gramKey joins words so that different lists give different keys.
func gramKey(words ...string) string {
	var b strings.Builder
	for _, w := range words {
		fmt.Fprintf(&b, "%d:%s", len(w), w)
	}
	return b.String()
}

// poolGrams numbers the n-grams of the pool: ngram_counts says where those of 1, 2, ... words start.
func poolGrams(c *Call, pool []string, n int) (map[string]int, error) {
	starts, r, id := c.Attr("ngram_counts").Ints(), map[string]int{}, 0
	for i, from := range starts {
		to := int64(len(pool))
		if i+1 < len(starts) {
			to = starts[i+1]
		}
		if from < 0 || to < from || to > int64(len(pool)) {
			return nil, fmt.Errorf("ngram_counts %v for a pool of %d", starts, len(pool))
		}
		for at := from; at+int64(i) < to; at += int64(i) + 1 {
			if id >= n {
				return nil, errors.New("more n-grams than indexes")
			}
			r[gramKey(pool[at:at+int64(i)+1]...)] = id
			id++
		}
	}
	return r, nil
}

// eachGram calls f for every n-gram of the lengths and skips that the attributes ask for; single words count once.
func eachGram(c *Call, row []string, f func(key string)) error {
	shortest, longest, skips := int(c.int("min_gram_length", 1)), int(c.int("max_gram_length", 1)), int(c.int("max_skip_count", 0))
	shortest, longest, skips = max(1, shortest), min(longest, len(row)), min(skips, len(row))
	for step := 1; step <= skips+1; step++ {
		for size := shortest; size <= longest; size++ {
			if size == 1 && step > 1 {
				continue
			}
			for at := 0; at+(size-1)*step < len(row); at++ {
				gram := make([]string, size)
				for k := range gram {
					gram[k] = row[at+k*step]
				}
				f(gramKey(gram...))
				if err := c.tick(64 * size); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
