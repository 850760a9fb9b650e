package kernel

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// simplifiedLayerNormalizationOp is RMSNormalization as ONNX Runtime writes it, in the default domain; the second result is
// 1/root of the mean square.
func simplifiedLayerNormalizationOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", -1), x.Rank())
	if err != nil {
		return nil, err
	}
	scale, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	n, err := newSkipNorm(c, x, axis, 1e-5, false)
	if err != nil {
		return nil, err
	}
	if err := n.run(c, 1, -1); err != nil {
		return nil, err
	}
	y, err := convertFloats(c, scale.DType(), x.Shape(), n.y)
	if err != nil || len(c.Out) < 2 {
		return one(y, err)
	}
	inv, err := n.perRow(c, n.invs)
	return []ir.Datum{y, inv}, err
}

// skipLayerNormalizationOp normalizes input + skip + bias over the last axis; results are Y, mean, 1/deviation and that sum.
func skipLayerNormalizationOp(c *Call) ([]ir.Datum, error) { return skipNormalize(c, true, 3, 4) }

// skipSimplifiedLayerNormalizationOp is the same without mean and beta.
func skipSimplifiedLayerNormalizationOp(c *Call) ([]ir.Datum, error) {
	return skipNormalize(c, false, -1, 3)
}

func skipNormalize(c *Call, centre bool, beta, bias int) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() == 0 {
		return nil, c.badOperand(0, x)
	}
	n, err := newSkipNorm(c, x, x.Rank()-1, 1e-12, centre)
	if err != nil {
		return nil, err
	}
	for _, i := range []int{1, bias} {
		add, err := c.rowParam(i, x.Shape(), 0)
		if err != nil {
			return nil, err
		}
		for k := range n.x {
			n.x[k] += add(k)
		}
	}
	if x.DType() != ir.Float64 {
		for k, e := range n.x {
			n.x[k] = float64(float32(e))
		}
	}
	if err := n.run(c, 2, beta); err != nil {
		return nil, err
	}
	return n.results(c)
}

// skipNorm is a normalization of the rows of x.
type skipNorm struct {
	t           *ir.Tensor // type and shape of the operand
	axis        int
	centre      bool
	eps         float64
	x, y        []float64
	means, invs []float64
}

func newSkipNorm(c *Call, x *ir.Tensor, axis int, eps float32, centre bool) (*skipNorm, error) {
	if !x.DType().IsFloat() {
		return nil, c.badType(x.DType())
	}
	n := &skipNorm{t: x, axis: axis, centre: centre, eps: float64(c.float("epsilon", eps))}
	v, err := c.floats(x)
	if err != nil {
		return nil, err
	}
	if n.x, err = alloc[float64](c, x.Shape()); err != nil {
		return nil, err
	}
	copy(n.x, v)
	n.y, err = alloc[float64](c, x.Shape())
	return n, err
}

// run normalizes, scales by operand gamma and adds operand beta.
func (n *skipNorm) run(c *Call, gamma, beta int) error {
	s := n.t.Shape()
	scale, err := c.rowParam(gamma, s, 1)
	if err != nil {
		return err
	}
	shift := func(int) float64 { return 0 }
	if beta >= 0 {
		if shift, err = c.rowParam(beta, s, 0); err != nil {
			return err
		}
	}
	rows, size := product(s[:n.axis]), product(s[n.axis:])
	if err := c.reserve(int64(rows), 16); err != nil {
		return err
	}
	n.means, n.invs = make([]float64, rows), make([]float64, rows)
	for i := range rows {
		row := n.x[i*size : (i+1)*size]
		mean, variance := 0.0, meanSquare(row)
		if n.centre {
			mean, variance = moments(row)
		}
		inv := 1 / math.Sqrt(variance+n.eps)
		n.means[i], n.invs[i] = mean, inv
		for j, e := range row {
			k := i*size + j
			n.y[k] = float64(float64((e-mean)*inv)*scale(k)) + shift(k)
		}
		if err := c.tick(16 * size); err != nil {
			return err
		}
	}
	return nil
}

// perRow is a result of one float32 for each row.
func (n *skipNorm) perRow(c *Call, v []float64) (*ir.Tensor, error) {
	s := n.t.Shape()
	return convertFloats(c, ir.Float32, append(append([]int64{}, s[:n.axis]...), ones(len(s)-n.axis)...), v)
}

func (n *skipNorm) results(c *Call) ([]ir.Datum, error) {
	r := make([]ir.Datum, min(4, max(1, len(c.Out))))
	for i := range r {
		var t *ir.Tensor
		var err error
		switch {
		case i == 0:
			t, err = convertFloats(c, n.t.DType(), n.t.Shape(), n.y)
		case !c.wants(i):
			continue
		case i == 1:
			t, err = n.perRow(c, n.means)
		case i == 2:
			t, err = n.perRow(c, n.invs)
		case i == 3:
			t, err = convertFloats(c, n.t.DType(), n.t.Shape(), n.x)
		}
		if err != nil {
			return nil, err
		}
		r[i] = t
	}
	return r, nil
}

// embedLayerNormalizationOp is the embedding of BERT: word[id] + position[place] + segment[id], normalized. Results are Y, the
// number of places that the mask shows in each row, and the sum.
func embedLayerNormalizationOp(c *Call) ([]ir.Datum, error) {
	ids, words, err := c.indexOperand(0)
	if err != nil {
		return nil, err
	}
	if ids.Rank() != 2 {
		return nil, c.badOperand(0, ids)
	}
	batch, length := int(ids.Shape()[0]), int(ids.Shape()[1])
	places, given, err := c.intsOperand(8)
	if err != nil {
		return nil, err
	}
	if !given {
		for i := range length {
			places = append(places, int64(i))
		}
	}
	if len(places) != length && len(places) != batch*length {
		return nil, fmt.Errorf("%d positions for %v words", len(places), ids.Shape())
	}
	segments, hasSegments, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	table, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	if table.Rank() != 2 {
		return nil, c.badOperand(2, table)
	}
	shape := []int64{int64(batch), int64(length), table.Shape()[1]}
	sum, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	if err := c.embed(sum, shape, 2, words); err != nil {
		return nil, err
	}
	if err := c.embed(sum, shape, 3, places); err != nil {
		return nil, err
	}
	if hasSegments && len(c.In) > 4 && c.In[4] != nil {
		if err := c.embed(sum, shape, 4, segments); err != nil {
			return nil, err
		}
	}
	total, err := convertFloats(c, table.DType(), shape, sum)
	if err != nil {
		return nil, err
	}
	n, err := newSkipNorm(c, total, 2, 1e-12, true)
	if err != nil {
		return nil, err
	}
	if err := n.run(c, 5, 6); err != nil {
		return nil, err
	}
	y, err := convertFloats(c, table.DType(), shape, n.y)
	if err != nil {
		return nil, err
	}
	counts, err := c.maskCounts(7, batch, length)
	if err != nil {
		return nil, err
	}
	r := []ir.Datum{y, ir.TensorOf(counts), total}
	return r[:max(1, min(3, len(c.Out)))], nil
}

// embed adds rows of the table in operand i, named by ids in turn, to the rows of sum.
func (c *Call) embed(sum []float64, shape []int64, i int, ids []int64) error {
	t, err := c.Need(i)
	if err != nil {
		return err
	}
	if t.Rank() != 2 || t.Shape()[1] != shape[2] || len(ids) == 0 && len(sum) > 0 {
		return c.badOperand(i, t)
	}
	v, err := c.floats(t)
	if err != nil {
		return err
	}
	n := int(shape[2])
	for r := range int(shape[0] * shape[1]) {
		id := ids[r%len(ids)]
		if id < 0 || id >= t.Shape()[0] {
			return fmt.Errorf("row %d of %d", id, t.Shape()[0])
		}
		for k, e := range v[int(id)*n : (int(id)+1)*n] {
			sum[r*n+k] += e
		}
		if err := c.tick(n); err != nil {
			return err
		}
	}
	return nil
}

// maskCounts is the number of places that are 1 in each row of a mask, 0 without a mask.
func (c *Call) maskCounts(i, batch, length int) ([]int32, error) {
	mask, given, err := c.intsOperand(i)
	if err != nil {
		return nil, err
	}
	if given && len(mask) != batch*length {
		return nil, fmt.Errorf("a mask of %d elements for %d rows of %d", len(mask), batch, length)
	}
	r := make([]int32, batch)
	for k, m := range mask {
		if m == 1 {
			r[k/length]++
		}
	}
	return r, nil
}
