package text

import "github.com/onnxopt/onnxopt/ir"

// header parses '<' key ':' value ,+ '>' of a model or a function.
func (p *parser) header(of string) *Header {
	h := &Header{Pos: p.tok.Pos}
	seen := map[string]bool{}
	p.expect("<")
	p.list(">", func() {
		key := p.tok
		if key.Kind != Ident {
			p.expected("a key of the " + of + "'s header")
			return
		}
		p.next()
		p.expect(":")
		if seen[key.Text] && p.err == nil {
			p.fail(key.Pos, "%s is given twice", clip(key.Text))
		}
		seen[key.Text] = true
		switch {
		case p.headerKey(h, key.Text):
		case of == "model" && p.modelKey(h, key.Text):
		case of == "function" && key.Text == "overload":
			h.Overload = p.string()
		default:
			p.fail(key.Pos, "unknown key %s in the header of a %s", clip(key.Text), of)
		}
	})
	return h
}

func (p *parser) headerKey(h *Header, key string) bool {
	switch key {
	case "opset_import":
		h.Opsets = p.opsets()
	case "domain":
		h.Domain = p.string()
	case "doc_string":
		h.Doc = p.string()
	default:
		return false
	}
	return true
}

func (p *parser) modelKey(h *Header, key string) bool {
	switch key {
	case "ir_version":
		h.IRVersion = p.int()
	case "producer_name":
		h.ProducerName = p.string()
	case "producer_version":
		h.ProducerVersion = p.string()
	case "model_version":
		h.ModelVersion = p.int()
	case "metadata_props":
		h.Props = p.props()
	default:
		return false
	}
	return true
}

func (p *parser) opsets() []ir.Opset {
	var r []ir.Opset
	seen := map[string]int64{}
	p.expect("[")
	p.list("]", func() {
		pos := p.tok.Pos
		o := ir.Opset{Domain: p.string()}
		p.expect(":")
		o.Version = p.int()
		d := ir.Domain(o.Domain)
		switch {
		case p.err != nil:
		case o.Version < 1:
			p.fail(pos, "domain %q has version %d", clip(o.Domain), o.Version)
		case seen[d] != 0 && seen[d] != o.Version:
			p.fail(pos, "domain %q is imported in versions %d and %d", clip(o.Domain), seen[d], o.Version)
		}
		seen[d] = o.Version
		r = append(r, o)
	})
	return r
}

// props parses '[' string ':' string ,* ']'.
func (p *parser) props() []ir.Prop {
	var r []ir.Prop
	p.expect("[")
	p.list("]", func() {
		k := p.string()
		p.expect(":")
		r = append(r, ir.Prop{Key: k, Value: p.string()})
	})
	return r
}
