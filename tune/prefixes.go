package tune

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// prefixes keeps models as the first steps of pipelines left them, because candidates of a search differ in their last steps as a rule.
type prefixes struct {
	models map[string]*ir.Model
	order  []string // the least recently used first
}

// keptPrefixes bounds how many there are. Copies share the weights that steps leave alone.
const keptPrefixes = 8

func newPrefixes() *prefixes { return &prefixes{models: map[string]*ir.Model{}} }

func prefix(at string, p *passes.Pipeline, n int) string {
	var b strings.Builder
	b.WriteString(at)
	for _, s := range p.Steps()[:n] {
		b.WriteString("\n" + s.String())
	}
	return b.String()
}

// longest is a copy of the model behind the longest known beginning of p, and the number of its steps.
func (c *prefixes) longest(at string, p *passes.Pipeline) (*ir.Model, int) {
	for n := len(p.Steps()); n > 0; n-- {
		key := prefix(at, p, n)
		if m := c.models[key]; m != nil {
			c.use(key)
			return m.Clone(), n
		}
	}
	return nil, 0
}

func (c *prefixes) put(at string, p *passes.Pipeline, n int, m *ir.Model) {
	key := prefix(at, p, n)
	c.models[key] = m.Clone()
	c.use(key)
	if len(c.order) > keptPrefixes {
		delete(c.models, c.order[0])
		c.order = c.order[1:]
	}
}

// use makes key the most recently used.
func (c *prefixes) use(key string) {
	for i, k := range c.order {
		if k == key {
			c.order = append(c.order[:i], c.order[i+1:]...)
			break
		}
	}
	c.order = append(c.order, key)
}
